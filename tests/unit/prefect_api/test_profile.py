from __future__ import annotations

import re
from pathlib import Path

import pytest

import actors
from actors.domain.errors import SettingsError
from actors.prefect_api.http.retry import RetryPolicy
from actors.prefect_api.settings.profile import PrefectSettings
from tests.unit.prefect_api.profiles import URL, Load


def test_nothing_set_means_prefects_defaults(load: Load) -> None:
    profile = load()
    assert profile.api_url is None
    assert profile.environment() == {}
    assert (profile.api_request_timeout, profile.client_max_retries) == (60.0, 5)
    assert (profile.worker_query_seconds, profile.worker_prefetch_seconds) == (10.0, 10.0)
    assert (profile.worker_webserver_host, profile.worker_webserver_port) == ("0.0.0.0", 8080)
    assert profile.logging_to_api_max_log_size == 1_000_000
    assert profile.source_of("PREFECT_API_URL") == "Prefect's default"


def test_values_are_read_from_the_environment(load: Load) -> None:
    profile = load(
        PREFECT_API_URL=f"{URL}/",
        PREFECT_API_AUTH_STRING="admin:pass",
        PREFECT_API_KEY="key",
        PREFECT_CLIENT_RETRY_EXTRA_CODES="404, 500",
        PREFECT_CLIENT_CUSTOM_HEADERS='{"X-Team": "data"}',
        PREFECT_CLIENT_CSRF_SUPPORT_ENABLED="off",
        PREFECT_WORKER_PREFETCH_SECONDS="0",
        PREFECT_LOGGING_LEVEL="debug",
        prefect_worker_query_seconds="2.5",
        UNRELATED="x",
    )
    assert profile.api_url == URL
    assert profile.api_auth_string == "admin:pass"
    assert profile.client_retry_extra_codes == {404, 500}
    assert profile.client_custom_headers == {"X-Team": "data"}
    assert profile.client_csrf_support_enabled is False
    assert profile.worker_prefetch_seconds == 0
    assert profile.worker_query_seconds == 2.5
    assert profile.logging_level == "DEBUG"
    assert profile.source_of("PREFECT_API_URL") == "the environment"


@pytest.mark.parametrize(
    ("variable", "text"),
    [
        ("PREFECT_API_URL", "127.0.0.1:4200"),
        ("PREFECT_API_URL", "http://"),
        ("PREFECT_API_URL", "http://host:port/api"),
        ("PREFECT_API_URL", "http://[x/api"),
        ("PREFECT_API_REQUEST_TIMEOUT", "0"),
        ("PREFECT_API_REQUEST_TIMEOUT", "nan"),
        ("PREFECT_API_TLS_INSECURE_SKIP_VERIFY", "maybe"),
        ("PREFECT_CLIENT_MAX_RETRIES", "-1"),
        ("PREFECT_CLIENT_MAX_RETRIES", "1.5"),
        ("PREFECT_CLIENT_RETRY_JITTER_FACTOR", "inf"),
        ("PREFECT_CLIENT_RETRY_EXTRA_CODES", "404,9"),
        ("PREFECT_WORKER_DEBUG_MODE", "2"),
        ("PREFECT_WORKER_WEBSERVER_PORT", "70000"),
        ("PREFECT_LOGGING_LEVEL", "LOUD"),
    ],
)
def test_a_wrong_value_is_named_with_its_source(load: Load, variable: str, text: str) -> None:
    with pytest.raises(SettingsError) as caught:
        load(**{variable: text})
    assert str(caught.value).startswith(f"{variable} (from the environment): {text!r} ")


@pytest.mark.parametrize(
    "text", ["no json", "[]", '{"a b": "c"}', '{"a": 1}', '{"a": "s3cr3t\\n"}', '{"a": "s3cr3tü"}']
)
def test_wrong_headers_are_refused_without_showing_them(load: Load, text: str) -> None:
    with pytest.raises(SettingsError, match="PREFECT_CLIENT_CUSTOM_HEADERS") as caught:
        load(PREFECT_CLIENT_CUSTOM_HEADERS=text)
    assert "s3cr3t" not in str(caught.value)


def test_sizes_have_to_fit_each_other(load: Load) -> None:
    with pytest.raises(SettingsError, match="must not be larger than"):
        load(PREFECT_LOGGING_TO_API_BATCH_SIZE="10")


def test_secrets_do_not_show(load: Load) -> None:
    profile = load(
        PREFECT_API_URL=URL,
        PREFECT_API_KEY="sesame1",
        PREFECT_API_AUTH_STRING="a:sesame2",
        PREFECT_CLIENT_CUSTOM_HEADERS='{"Authorization": "sesame3"}',
    )
    assert "sesame" not in repr(profile)
    assert "sesame" not in repr(profile.session_options())


def test_a_session_gets_what_the_profile_says(load: Load, tmp_path: Path) -> None:
    file = tmp_path / "authority.pem"
    file.touch()
    options = load(
        PREFECT_API_URL="https://prefect.example.org/api/",
        PREFECT_API_KEY="key",
        PREFECT_API_SSL_CERT_FILE=str(file),
        PREFECT_API_REQUEST_TIMEOUT="5",
        PREFECT_CLIENT_MAX_RETRIES="1",
    ).session_options()
    assert options.base_url == "https://prefect.example.org/api"
    assert options.credentials.api_key == "key"
    assert (options.verify, options.timeout_seconds) == (str(file), 5)
    assert options.retry == RetryPolicy(max_retries=1)
    assert options.user_agent.startswith("actor-worker/")
    assert options.csrf is True


def test_certificates_are_checked_as_told(load: Load) -> None:
    def verify(**environ: str) -> bool | str:
        verified: bool | str = load(PREFECT_API_URL=URL, **environ).session_options().verify
        return verified

    assert verify() is True
    assert verify(SSL_CERT_FILE="/some.pem") == "/some.pem"
    assert verify(PREFECT_API_TLS_INSECURE_SKIP_VERIFY="1", SSL_CERT_FILE="/some.pem") is False


def test_a_missing_certificate_file_is_named_where_it_matters(load: Load) -> None:
    profile = load(PREFECT_API_URL="https://x/api", PREFECT_API_SSL_CERT_FILE="/no/such.pem")
    with pytest.raises(SettingsError, match=r"the environment.*/no/such\.pem"):
        profile.session_options()


def test_prefect_cloud_has_no_csrf_protection(load: Load) -> None:
    profile = load(PREFECT_API_URL="https://api.prefect.cloud/api/accounts/a/workspaces/w")
    assert profile.session_options().csrf is False


def test_without_a_server_there_is_no_session(load: Load) -> None:
    with pytest.raises(SettingsError, match="PREFECT_API_URL is not set"):
        load().session_options()


def test_settings_that_this_worker_has_no_use_for_reach_the_engines_as_they_are(
    load: Load,
) -> None:
    others = {
        "PREFECT_CLIENT_METRICS_ENABLED": "true",
        "PREFECT_CLIENT_METRICS_PORT": "4300",
        "PREFECT_LOGGING_TO_API_WHEN_MISSING_FLOW": "ignore",
        "PREFECT_WORKER_CANCELLATION_POLL_SECONDS": "5",
        "PREFECT_WORKER_ENABLE_CANCELLATION": "true",
    }
    assert load(**others).environment() == others


def test_every_setting_that_is_read_is_used() -> None:
    """A setting that is parsed and then forgotten is a promise that is not kept."""
    source = Path(actors.__file__).parent
    texts = [
        path.read_text(encoding="utf-8")
        for path in source.rglob("*.py")
        if path.name != "profile.py"
    ]
    own = (source / "prefect_api" / "settings" / "profile.py").read_text(encoding="utf-8")
    _, _, methods = own.partition("class PrefectProfile")
    assert [
        name
        for name in PrefectSettings.model_fields
        if not any(re.search(rf"\b{name}\b", text) for text in [*texts, methods])
    ] == []
