"""Where Prefect's settings are found, and which place wins."""

from __future__ import annotations

from pathlib import Path

import pytest

from actors.domain.errors import SettingsError
from tests.unit.prefect_api.profiles import URL, Load, write_profiles


def test_stronger_sources_win(load: Load, cwd: Path, home: Path) -> None:
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


def test_tables_of_toml_files_name_their_settings(load: Load, cwd: Path) -> None:
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


def test_dotenv_files_are_read_as_usual(load: Load, cwd: Path) -> None:
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


def test_the_active_profile_is_used_unless_another_is_named(load: Load, home: Path) -> None:
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
    assert load().api_url == URL
    assert load().source_of("PREFECT_API_URL") == f"profile 'local' in {path}"
    other = load(PREFECT_PROFILE="other")
    assert (other.api_url, other.worker_query_seconds) == ("http://other:1/api", 3)
    assert "PREFECT_PROFILE" not in other.environment()


def test_profiles_live_where_prefect_looks_for_them(
    load: Load, tmp_path: Path, home: Path
) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "profiles.toml").write_text('active = "a"\n[profiles.a]\nPREFECT_X = 1\n')
    (elsewhere / "mine.toml").write_text('active = "b"\n[profiles.b]\nPREFECT_X = 2\n')
    write_profiles(home, 'active = "c"\n[profiles.c]\nPREFECT_X = 3\n')

    def found(**environ: str) -> str:
        return load(**environ).environment()["PREFECT_X"]

    assert found(PREFECT_HOME=str(elsewhere)) == "1"
    assert found(PREFECT_PROFILES_PATH=str(elsewhere / "mine.toml")) == "2"
    path = "$PREFECT_HOME/mine.toml"
    assert found(PREFECT_HOME=str(elsewhere), PREFECT_PROFILES_PATH=path) == "2"
    assert found() == "3"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("nonsense", "no valid TOML"),
        ('active = "gone"', "has no such profile"),
        ('active = "odd"\nprofiles = 3', "has no such profile"),
    ],
)
def test_what_prefect_only_warns_of_is_a_warning(
    load: Load, home: Path, text: str, words: str
) -> None:
    write_profiles(home, text)
    profile = load(PREFECT_API_URL=URL)
    assert profile.api_url == URL
    assert words in profile.warnings[0]


def test_a_profile_that_is_asked_for_and_missing_is_a_warning(load: Load) -> None:
    assert "PREFECT_PROFILE names 'x'" in load(PREFECT_PROFILE="x").warnings[0]


@pytest.mark.parametrize("name", ["prefect.toml", "pyproject.toml"])
def test_a_broken_settings_file_is_an_error(load: Load, cwd: Path, name: str) -> None:
    (cwd / name).write_text("nonsense")
    with pytest.raises(SettingsError, match=f"{name} is no valid TOML"):
        load()


def test_an_empty_value_hides_a_weaker_one(load: Load, home: Path) -> None:
    write_profiles(home, 'active = "a"\n[profiles.a]\nPREFECT_API_KEY = "key"\n')
    assert load().api_key == "key"
    assert load(PREFECT_API_KEY="").api_key is None


def test_internals_of_a_flow_run_do_not_reach_others(load: Load) -> None:
    assert load(PREFECT__FLOW_RUN_ID="x", PREFECT_API_URL=URL).environment() == {
        "PREFECT_API_URL": URL
    }
