from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from actors.domain.errors import SettingsError
from actors.orchestrator.profile import PrefectProfile, load_profile
from actors.orchestrator.retry import RetryPolicy

URL = "http://127.0.0.1:4200/api"


@pytest.fixture
def cwd(tmp_path: Path) -> Path:
    folder = tmp_path / "cwd"
    folder.mkdir()
    return folder


@pytest.fixture
def home(tmp_path: Path) -> Path:
    folder = tmp_path / "home"
    (folder / ".prefect").mkdir(parents=True)
    return folder


@pytest.fixture
def load(cwd: Path, home: Path) -> Any:
    def load(**environ: str) -> PrefectProfile:
        return load_profile(environ, cwd=cwd, home=home)

    return load


def write_profiles(home: Path, text: str) -> Path:
    path = home / ".prefect" / "profiles.toml"
    path.write_text(text)
    return path


def test_nothing_set_means_prefects_defaults(load: Any) -> None:
    profile = load()
    assert profile.api_url is None
    assert profile.environment() == {}
    assert (profile.api_request_timeout, profile.client_max_retries) == (60.0, 5)
    assert (profile.worker_query_seconds, profile.worker_prefetch_seconds) == (10.0, 10.0)
    assert (profile.worker_webserver_host, profile.worker_webserver_port) == ("0.0.0.0", 8080)
    assert profile.logging_to_api_max_log_size == 1_000_000
    assert profile.source_of("PREFECT_API_URL") == "Prefect's default"


def test_values_are_read_from_the_environment(load: Any) -> None:
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


def test_stronger_sources_win(load: Any, cwd: Path, home: Path) -> None:
    names = [f"PREFECT_S{number}" for number in range(5)]
    write_profiles(
        home,
        'active = "mine"\n[profiles.mine]\n' + "".join(f'{n} = "profile"\n' for n in names),
    )
    (cwd / "pyproject.toml").write_text(
        "[tool.prefect]\n" + "".join(f's{n} = "pyproject"\n' for n in range(1, 5))
    )
    (cwd / "prefect.toml").write_text("".join(f's{n} = "toml"\n' for n in range(2, 5)))
    (cwd / ".env").write_text("".join(f"PREFECT_S{n}=dotenv\n" for n in range(3, 5)))
    profile = load(PREFECT_S4="environment")
    assert [profile.environment()[name] for name in names] == [
        "profile",
        "pyproject",
        "toml",
        "dotenv",
        "environment",
    ]
    assert profile.source_of("PREFECT_S2") == str(cwd / "prefect.toml")


def test_tables_of_toml_files_name_their_settings(load: Any, cwd: Path) -> None:
    (cwd / "prefect.toml").write_text(
        f"""
        home = "/srv/prefect"
        [api]
        url = "{URL}"
        tls_insecure_skip_verify = true
        [client]
        retry_extra_codes = [404, 500]
        custom_headers = {{ X-Team = "data" }}
        [logging.to_api]
        batch_interval = 1.5
        """
    )
    profile = load()
    assert profile.api_url == URL
    assert profile.api_tls_insecure_skip_verify is True
    assert profile.client_retry_extra_codes == {404, 500}
    assert profile.client_custom_headers == {"X-Team": "data"}
    assert profile.logging_to_api_batch_interval == 1.5
    assert profile.environment() == {
        "PREFECT_HOME": "/srv/prefect",
        "PREFECT_API_URL": URL,
        "PREFECT_API_TLS_INSECURE_SKIP_VERIFY": "True",
        "PREFECT_CLIENT_RETRY_EXTRA_CODES": "404,500",
        "PREFECT_CLIENT_CUSTOM_HEADERS": '{"X-Team": "data"}',
        "PREFECT_LOGGING_TO_API_BATCH_INTERVAL": "1.5",
    }


def test_dotenv_files_are_read_as_usual(load: Any, cwd: Path) -> None:
    (cwd / ".env").write_text(
        "# comment\n"
        "EMPTY=\n"
        'export PREFECT_A="with \\"quotes\\" and #"  # comment\n'
        "PREFECT_B='as $it is'\n"
        "PREFECT_C = bare text # comment\n"
        "PREFECT_D=a#b\r\n"
        "PREFECT_E=\n"
        'PREFECT_F="two\nlines"\n'
    )
    assert load().environment() == {
        "PREFECT_A": 'with "quotes" and #',
        "PREFECT_B": "as $it is",
        "PREFECT_C": "bare text",
        "PREFECT_D": "a#b",
        "PREFECT_E": "",
        "PREFECT_F": "two\nlines",
    }


def test_the_active_profile_is_used_unless_another_is_named(load: Any, home: Path) -> None:
    path = write_profiles(
        home,
        f"""
        active = "local"
        [profiles.local]
        PREFECT_API_URL = "{URL}"
        [profiles.other]
        PREFECT_API_URL = "http://other:1/api"
        PREFECT_WORKER_QUERY_SECONDS = 3
        """,
    )
    assert (load().name, load().api_url) == ("local", URL)
    assert load().source_of("PREFECT_API_URL") == f"profile 'local' in {path}"
    other = load(PREFECT_PROFILE="other")
    assert (other.api_url, other.worker_query_seconds) == ("http://other:1/api", 3)
    assert "PREFECT_PROFILE" not in other.environment()


def test_profiles_live_where_prefect_looks_for_them(load: Any, tmp_path: Path, home: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "profiles.toml").write_text(
        f'active = "a"\n[profiles.a]\nPREFECT_API_URL = "{URL}"\n'
    )
    (elsewhere / "mine.toml").write_text('active = "b"\n[profiles.b]\n')
    assert load(PREFECT_HOME=str(elsewhere)).name == "a"
    assert load(PREFECT_PROFILES_PATH=str(elsewhere / "mine.toml")).name == "b"
    path = "$PREFECT_HOME/mine.toml"
    assert load(PREFECT_HOME=str(elsewhere), PREFECT_PROFILES_PATH=path).name == "b"
    assert load().profiles_path == home / ".prefect" / "profiles.toml"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("nonsense", "no valid TOML"),
        ('active = "gone"', "has no such profile"),
        ('active = "odd"\nprofiles = 3', "has no such profile"),
    ],
)
def test_what_prefect_only_warns_of_is_a_warning(
    load: Any, home: Path, text: str, words: str
) -> None:
    write_profiles(home, text)
    profile = load(PREFECT_API_URL=URL)
    assert profile.api_url == URL
    assert words in profile.warnings[0]


def test_a_profile_that_is_asked_for_and_missing_is_a_warning(load: Any) -> None:
    assert "PREFECT_PROFILE names 'x'" in load(PREFECT_PROFILE="x").warnings[0]


@pytest.mark.parametrize("name", ["prefect.toml", "pyproject.toml"])
def test_a_broken_settings_file_is_an_error(load: Any, cwd: Path, name: str) -> None:
    (cwd / name).write_text("nonsense")
    with pytest.raises(SettingsError, match=f"{name} is no valid TOML"):
        load()


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
        ("PREFECT_CLIENT_ENABLE_METRICS", "2"),
        ("PREFECT_WORKER_WEBSERVER_PORT", "70000"),
        ("PREFECT_LOGGING_LEVEL", "LOUD"),
        ("PREFECT_LOGGING_TO_API_WHEN_MISSING_FLOW", "shout"),
    ],
)
def test_a_wrong_value_is_named_with_its_source(load: Any, variable: str, text: str) -> None:
    with pytest.raises(SettingsError) as caught:
        load(**{variable: text})
    assert str(caught.value).startswith(f"{variable} (from the environment): {text!r} ")


@pytest.mark.parametrize(
    "text", ["no json", "[]", '{"a b": "c"}', '{"a": 1}', '{"a": "s3cr3t\\n"}', '{"a": "s3cr3tü"}']
)
def test_wrong_headers_are_refused_without_showing_them(load: Any, text: str) -> None:
    with pytest.raises(SettingsError, match="PREFECT_CLIENT_CUSTOM_HEADERS") as caught:
        load(PREFECT_CLIENT_CUSTOM_HEADERS=text)
    assert "s3cr3t" not in str(caught.value)


def test_sizes_have_to_fit_each_other(load: Any) -> None:
    with pytest.raises(SettingsError, match="must not be larger than"):
        load(PREFECT_LOGGING_TO_API_BATCH_SIZE="10")


def test_an_empty_value_hides_a_weaker_one(load: Any, home: Path) -> None:
    write_profiles(home, 'active = "a"\n[profiles.a]\nPREFECT_API_KEY = "key"\n')
    assert load().api_key == "key"
    assert load(PREFECT_API_KEY="").api_key is None


def test_an_old_name_is_understood_and_hides_the_new_one_of_weaker_sources(
    load: Any, home: Path
) -> None:
    write_profiles(home, 'active = "a"\n[profiles.a]\nPREFECT_CLIENT_METRICS_ENABLED = false\n')
    profile = load(PREFECT_CLIENT_ENABLE_METRICS="true")
    assert profile.client_metrics_enabled is True
    assert profile.environment() == {"PREFECT_CLIENT_ENABLE_METRICS": "true"}


def test_internals_of_a_flow_run_do_not_reach_others(load: Any) -> None:
    assert load(PREFECT__FLOW_RUN_ID="x", PREFECT_API_URL=URL).environment() == {
        "PREFECT_API_URL": URL
    }


def test_secrets_do_not_show(load: Any) -> None:
    profile = load(
        PREFECT_API_URL=URL,
        PREFECT_API_KEY="sesame1",
        PREFECT_API_AUTH_STRING="a:sesame2",
        PREFECT_CLIENT_CUSTOM_HEADERS='{"Authorization": "sesame3"}',
        HTTPS_PROXY="http://a:sesame4@proxy",
    )
    assert "sesame" not in repr(profile)
    assert "sesame" not in repr(profile.session_options())


def test_a_session_gets_what_the_profile_says(load: Any, tmp_path: Path) -> None:
    file = tmp_path / "authority.pem"
    file.touch()
    options = load(
        PREFECT_API_URL="https://prefect.example.org/api/",
        PREFECT_API_KEY="key",
        PREFECT_API_SSL_CERT_FILE=str(file),
        PREFECT_API_REQUEST_TIMEOUT="5",
        PREFECT_CLIENT_MAX_RETRIES="1",
        HTTPS_PROXY="http://proxy:1",
    ).session_options()
    assert options.base_url == "https://prefect.example.org/api"
    assert options.credentials.api_key == "key"
    assert (options.verify, options.timeout_seconds) == (str(file), 5)
    assert options.retry == RetryPolicy(max_retries=1)
    assert options.proxies == {"https": "http://proxy:1"}
    assert options.user_agent.startswith("actor-worker/")
    assert options.csrf is True


def test_certificates_are_checked_as_told(load: Any) -> None:
    def verify(**environ: str) -> bool | str:
        verified: bool | str = load(PREFECT_API_URL=URL, **environ).session_options().verify
        return verified

    assert verify() is True
    assert verify(SSL_CERT_FILE="/some.pem") == "/some.pem"
    assert verify(PREFECT_API_TLS_INSECURE_SKIP_VERIFY="1", SSL_CERT_FILE="/some.pem") is False


def test_a_missing_certificate_file_is_named_where_it_matters(load: Any) -> None:
    profile = load(PREFECT_API_URL="https://x/api", PREFECT_API_SSL_CERT_FILE="/no/such.pem")
    with pytest.raises(SettingsError, match=r"the environment.*/no/such\.pem"):
        profile.session_options()


def test_prefect_cloud_has_no_csrf_protection(load: Any) -> None:
    profile = load(PREFECT_API_URL="https://api.prefect.cloud/api/accounts/a/workspaces/w")
    assert profile.is_cloud
    assert profile.session_options().csrf is False


def test_without_a_server_there_is_no_session(load: Any) -> None:
    with pytest.raises(SettingsError, match="PREFECT_API_URL is not set"):
        load().session_options()
