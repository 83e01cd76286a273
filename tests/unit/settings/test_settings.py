from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from actors.domain.errors import SettingsError
from actors.domain.policy import OnDeadline
from actors.prefect_api.settings.profile import load_profile
from actors.settings.settings import CommandLineSettings, Settings
from actors.settings.sources import unknown_variables


@pytest.fixture(autouse=True)
def _no_settings_around(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The settings of whoever runs the tests are not the tests'."""
    import os

    for name in os.environ:
        if name.upper().startswith(("ACTOR_WORKER_", "PREFECT_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("PREFECT_HOME", str(tmp_path / "prefect-home"))


def complaint(kind: type[Settings] = Settings, **values: Any) -> str:
    with pytest.raises(SettingsError) as caught:
        kind(**values)
    return str(caught.value)


def write(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def test_a_pool_is_all_that_is_needed() -> None:
    settings = Settings(pool="p")
    assert (settings.limit, settings.work_queues, settings.on_deadline) == (
        None,
        (),
        OnDeadline.TERMINATE,
    )


def test_a_missing_pool_is_named_with_every_way_to_give_it() -> None:
    said = complaint()
    for way in ("--pool", "-p", "ACTOR_WORKER_POOL", "--config"):
        assert way in said


def test_settings_do_not_change() -> None:
    settings = Settings(pool="p")
    with pytest.raises(Exception, match="frozen"):
        settings.limit = 3


def test_the_stronger_source_wins(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    config = write(tmp_path / "c.toml", 'pool = "file"\nlimit = 1\nkeep_runs = 1\nname = "file"')
    monkeypatch.setenv("ACTOR_WORKER_LIMIT", "2")
    monkeypatch.setenv("ACTOR_WORKER_KEEP_RUNS", "2")
    settings = Settings(config=config, keep_runs=3)
    assert (settings.keep_runs, settings.limit, settings.name) == (3, 2, "file")
    assert (settings.pool, settings.keep_runs_days) == ("file", 7.0)


def test_the_file_can_be_named_in_the_environment(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("ACTOR_WORKER_CONFIG", str(write(tmp_path / "c.toml", 'pool = "file"')))
    assert Settings().pool == "file"


def test_an_empty_variable_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ACTOR_WORKER_LIMIT", "")
    assert Settings(pool="p").limit is None


def test_queues_in_a_variable_are_separated_by_commas(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ACTOR_WORKER_WORK_QUEUES", "high, low,")
    assert Settings(pool="p").work_queues == ("high", "low")


def test_a_wrong_argument_is_named_as_the_caller_gave_it() -> None:
    assert complaint(pool="p", limit="x") == (
        "limit (argument of Settings): 'x' is wrong: Input should be a valid integer,"
        " unable to parse string as an integer."
    )
    assert complaint(CommandLineSettings, pool="p", work_queues=3).startswith(
        "--work-queue (command line): "
    )


def test_a_wrong_variable_is_named_as_it_is_written(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("actor_worker_limit", "x")
    assert complaint(pool="p").startswith("actor_worker_limit (environment): 'x' is wrong: ")


def test_a_wrong_value_in_the_file_is_named_with_the_file(tmp_path: Path) -> None:
    config = write(tmp_path / "c.toml", "limit = 0\n")
    assert complaint(pool="p", config=config).startswith(f"limit ({config}): 0 is wrong: ")


def test_what_the_file_says_is_not_blamed_for_what_overrides_it(tmp_path: Path) -> None:
    config = write(tmp_path / "c.toml", "limit = 3\n")
    assert complaint(pool="p", config=config, limit=0).startswith("limit (argument of Settings)")


@pytest.mark.parametrize("key", ["work-queues", "work_queue", '"workqueues"'])
def test_an_unknown_key_is_named_with_the_closest_setting(tmp_path: Path, key: str) -> None:
    config = write(tmp_path / "c.toml", f'pool = "p"\n{key} = ["a"]\n')
    assert complaint(config=config) == (
        f"{key.strip(chr(34))} ({config}): there is no such setting. Did you mean work_queues?"
    )


def test_an_unknown_key_that_resembles_nothing_is_named_alone(tmp_path: Path) -> None:
    config = write(tmp_path / "c.toml", "zzz = 1\n")
    assert complaint(pool="p", config=config) == f"zzz ({config}): there is no such setting."


def test_all_that_is_wrong_is_said_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ACTOR_WORKER_LOG_LEVEL", "loud")
    assert len(complaint(pool="p", limit=0, query_seconds=0).splitlines()) == 3


def test_a_file_that_cannot_be_read_or_is_no_toml_is_named(tmp_path: Path) -> None:
    gone = tmp_path / "gone.toml"
    assert complaint(config=gone) == (
        f"The settings file {gone} cannot be read: No such file or directory."
    )
    broken = write(tmp_path / "broken.toml", "limit = = 3\n")
    assert f"{broken} is not TOML" in complaint(config=broken)
    assert "line 1" in complaint(config=broken)


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("limit", 1.5, "1.5 is wrong: Input should be a valid integer"),
        ("limit", 0, "0 is wrong: Input should be greater than 0"),
        ("query_seconds", 0, "0 is wrong: Input should be greater than 0"),
        ("query_seconds", "soon", "'soon' is wrong: Input should be a valid number"),
        ("prefetch_seconds", -1, "-1 is wrong: Input should be greater than or equal to 0"),
        ("heartbeat_seconds", "inf", "'inf' is wrong: Input should be a finite number"),
        ("health_port", 70000, "70000 is wrong: Input should be less than or equal to 65535"),
        ("run_once", "perhaps", "'perhaps' is wrong: Input should be a valid boolean"),
        ("log_format", "xml", "'xml' is wrong: Input should be 'console' or 'json'"),
        ("on_deadline", "hope", "'hope' is wrong: Input should be 'terminate' or 'leave'"),
        ("pool", "", "'' is wrong: String should have at least 1 character"),
        ("pool", 3, "3 is wrong: Input should be a valid string"),
        ("name", "a/b", "'a/b' is empty, or contains '/' or '%'"),
        ("name", "50%", "'50%' is empty, or contains '/' or '%'"),
        ("name", "", "is empty, or contains"),
        ("name", "  ", "is empty, or contains"),
        ("type", "docker", "'docker' is wrong: Input should be 'process'"),
    ],
)
def test_a_wrong_value_is_explained(field: str, value: Any, words: str) -> None:
    said = complaint(**({"pool": "p"} | {field: value}))
    assert said.startswith(f"{field} (argument of Settings): ")
    assert words in said
    assert said.count(".") == said.rstrip(".").count(".") + 1


@pytest.mark.parametrize(
    ("field", "variable", "text", "value"),
    [
        ("query_seconds", "PREFECT_WORKER_QUERY_SECONDS", "2.5", 2.5),
        ("prefetch_seconds", "PREFECT_WORKER_PREFETCH_SECONDS", "0", 0.0),
        ("heartbeat_seconds", "PREFECT_WORKER_HEARTBEAT_SECONDS", "8", 8.0),
        ("health_host", "PREFECT_WORKER_WEBSERVER_HOST", "127.0.0.1", "127.0.0.1"),
        ("health_port", "PREFECT_WORKER_WEBSERVER_PORT", "0", 0),
        ("log_level", "PREFECT_LOGGING_LEVEL", "WARN", "WARNING"),
        ("log_level", "PREFECT_WORKER_DEBUG_MODE", "true", "DEBUG"),
    ],
)
def test_prefects_own_settings_are_the_weakest_source(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    field: str,
    variable: str,
    text: str,
    value: object,
) -> None:
    monkeypatch.setenv(variable, text)
    assert getattr(Settings(pool="p"), field) == value
    assert Settings(pool="p").prefect.environment()[variable] == text
    stronger = getattr(Settings.model_construct(), field)
    config = write(tmp_path / "c.toml", f"{field} = {json.dumps(stronger)}")
    assert getattr(Settings(pool="p", config=config), field) == stronger


def test_a_wrong_setting_of_prefects_is_named_as_prefects(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PREFECT_WORKER_HEARTBEAT_SECONDS", "0.5")
    assert complaint(pool="p") == (
        "PREFECT_WORKER_HEARTBEAT_SECONDS (the environment): 0.5 is wrong: Input should be"
        " greater than or equal to 1."
    )


def test_a_program_may_pass_prefects_settings_in() -> None:
    profile = load_profile({"PREFECT_WORKER_QUERY_SECONDS": "3"})
    settings = Settings(pool="p", prefect=profile)
    assert settings.prefect is profile
    assert settings.query_seconds == 3.0


def test_credentials_are_in_no_representation(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PREFECT_API_KEY", "pnu_very_secret")
    monkeypatch.setenv("PREFECT_API_AUTH_STRING", "me:very_secret")
    settings = Settings(pool="p")
    assert settings.prefect.api_key == "pnu_very_secret"
    for shown in (repr(settings), str(settings), settings.model_dump_json()):
        assert "very_secret" not in shown


def test_the_type_process_may_be_given() -> None:
    assert Settings(pool="p", type="process").type == "process"


TEMPLATE = {
    "job_configuration": {
        "command": "{{ command }}",
        "env": {"KEY": "{{ prefect.blocks.secret.key }}", "HOME": "{{ $HOME }}"},
        "name": "{{ ctx.flow_run.name }}",
    },
    "variables": {"type": "object", "properties": {"command": {"type": "string"}}},
}


def test_a_base_job_template_is_read_from_its_file(tmp_path: Path) -> None:
    file = write(tmp_path / "t.json", json.dumps(TEMPLATE))
    assert Settings(pool="p", base_job_template=str(file)).base_job_template == TEMPLATE
    assert Settings(pool="p", base_job_template=TEMPLATE).base_job_template == TEMPLATE


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('{"a": ', "is not JSON: Expecting value: line 1 column 7"),
        ("[]", "holds no JSON object"),
        ("{}", "has no object 'job_configuration'"),
        ('{"job_configuration": {}}', "has no object 'variables'"),
        (
            '{"job_configuration": {"command": "{{ comand }}"}, "variables": {"properties": {}}}',
            "uses {{ comand }}, which 'variables' does not declare",
        ),
    ],
)
def test_a_base_job_template_that_the_server_would_refuse_is_refused_at_once(
    tmp_path: Path, text: str, words: str
) -> None:
    file = write(tmp_path / "t.json", text)
    said = complaint(CommandLineSettings, pool="p", base_job_template=str(file))
    assert said.startswith(f"--base-job-template (command line): the file {file}")
    assert words in said


def test_a_variable_that_sets_nothing_is_remarked_with_the_closest() -> None:
    environ = {
        "ACTOR_WORKER_LIMT": "3",
        "ACTOR_WORKER_LIMIT": "3",
        "ACTOR_WORKER_TEST_PREFECT_3_9": "/x",
        "PATH": "/bin",
    }
    assert unknown_variables(Settings.model_fields, environ) == [
        "ACTOR_WORKER_LIMT (environment): there is no such setting."
        " Did you mean ACTOR_WORKER_LIMIT?"
    ]
