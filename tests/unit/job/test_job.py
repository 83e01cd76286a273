from __future__ import annotations

import shlex
import signal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.domain.errors import InvalidJob
from actors.domain.masking import Masker
from actors.domain.record import Limits
from actors.job.job import Job, build_job, is_engine, split_command, uses_runner
from actors.job.template import Resolved, populate, resolve
from tests.support.builders import FLOW, a_run

PYTHON = "/venv/bin/python"
ENGINE = (PYTHON, "-m", "prefect.engine")


def job(secrets: frozenset[str] = frozenset(), **configuration: Any) -> Job:
    return build_job(
        Resolved(configuration, secrets),
        run=a_run(),
        flow=FLOW,
        engine_python=PYTHON,
    )


# --- command ----------------------------------------------------------------------------------


@pytest.mark.parametrize("command", [None, "", "  ", "python -m prefect.engine"])
def test_without_a_command_of_its_own_a_job_runs_the_engine(command: str | None) -> None:
    built = job(command=command)
    assert built.argv == ENGINE
    assert is_engine(built.argv)


@pytest.mark.parametrize(
    ("command", "argv"),
    [
        ("true", ("true",)),
        ("/srv/bin/dump a  b", ("/srv/bin/dump", "a", "b")),
        ("echo 'a b' \"c d\" e\\ f", ("echo", "a b", "c d", "e f")),
        ("echo '' x", ("echo", "", "x")),
        ("echo $HOME *.py | cat # no comment", "echo $HOME *.py | cat # no comment"),
    ],
)
def test_a_command_is_split_as_a_shell_would_and_nothing_else(command: str, argv: Any) -> None:
    expected = tuple(argv.split(" ")) if isinstance(argv, str) else argv
    assert job(command=command).argv == expected


@given(st.lists(st.text(st.characters(exclude_characters="\0", codec="utf-8")), min_size=1))
def test_any_arguments_survive_quoting_and_splitting(argv: list[str]) -> None:
    quoted = shlex.join(argv)
    if argv[0] and quoted != "python -m prefect.engine":
        assert split_command(quoted, PYTHON) in (tuple(argv), ENGINE)
        assert split_command(f"x {quoted}", PYTHON) == ("x", *argv)


@given(st.text())
def test_any_command_is_split_or_refused_with_a_reason(command: str) -> None:
    try:
        argv = split_command(command, PYTHON)
    except InvalidJob as refusal:
        argv = (str(refusal),)
    assert argv[0]


@pytest.mark.parametrize(
    ("command", "complaint"),
    [
        ("echo 'a", "No closing quotation"),
        ("echo a\\", "No escaped character"),
        ("'' x", "empty argument"),
        ("echo \0", "NUL"),
    ],
)
def test_a_command_that_no_process_can_have_is_refused(command: str, complaint: str) -> None:
    with pytest.raises(InvalidJob, match=complaint):
        job(command=command)


@pytest.mark.parametrize(
    ("command", "engine", "runner"),
    [
        ("/usr/bin/python3.12 -m prefect.engine", True, False),
        ("uv run python -m prefect.engine", True, False),
        ("bash -c 'cd /srv; python -m prefect.engine'", True, False),
        ("python -m prefect.engineering", False, False),
        ("prefect flow-run execute", False, True),
        ("/venv/bin/prefect  flow-run execute", False, True),
        ("prefect flow-run ls", False, False),
        ("true", False, False),
    ],
)
def test_engines_and_runners_are_told_by_their_command(
    command: str, engine: bool, runner: bool
) -> None:
    argv = split_command(command, PYTHON)
    assert (is_engine(argv), uses_runner(argv)) == (engine, runner)
    note = job(command=command).summary(Masker())
    assert (note.is_engine, note.uses_runner) == (engine, runner)


# --- values -----------------------------------------------------------------------------------


def test_what_is_not_given_falls_back_to_the_defaults() -> None:
    built = job().configuration
    assert (built.env, built.working_dir, built.stream_output) == ({}, None, True)
    assert (built.report_states, built.warm_start, built.limits) == (False, None, Limits())
    assert (
        job(env=None, working_dir="", stream_output=None, grace_seconds="", labels=None, name="")
        == job()
    )


def test_values_of_env_become_text_and_null_stays() -> None:
    assert job(env={"A": 1, "B": True, "C": None, "D": {"x": 1}}).configuration.env == {
        "A": "1",
        "B": "True",
        "C": None,
        "D": "{'x': 1}",
    }


@pytest.mark.parametrize(
    ("given_value", "meant"), [(True, True), ("false", False), ("1", True), (0, False)]
)
def test_stream_output_is_read_from_text_too(given_value: Any, meant: bool) -> None:
    assert job(stream_output=given_value).configuration.stream_output is meant


def test_a_working_directory_is_a_path() -> None:
    assert job(working_dir="/srv/flows").configuration.working_dir == Path("/srv/flows")


@pytest.mark.parametrize(
    ("configured", "name"),
    [
        (None, None),
        ("mine", "mine"),
        ("  two\n\x1b[1mlines ", "two lines"),
        (7, "7"),
        ("{{ ctx.flow.name }}-{{ ctx.flow_run.id }}", "hello-run-id"),
        ("{{ ctx.flow_run.state_name }} {{ ctx.flow_run.tags[1] }}", "Scheduled gamma"),
        ("{{ ctx.nosuch }}", None),
    ],
)
def test_a_job_is_called_what_its_template_says(configured: Any, name: str | None) -> None:
    assert job(name=configured).name == name


def test_labels_are_taken_for_the_sake_of_prefects_templates_and_mean_nothing() -> None:
    assert job(labels={"team": 5}).argv == job().argv


def test_limits_are_read_leniently() -> None:
    built = job(
        timeout_seconds="90",
        memory_limit_mb=512,
        grace_seconds=0,
        kill_signal="int",
        nice="5",
        report_states="true",
        warm_start=False,
    )
    assert built.configuration.limits == Limits(
        timeout_seconds=90.0,
        memory_limit_mb=512.0,
        grace_seconds=0.0,
        kill_signal=signal.SIGINT,
        nice=5,
    )
    assert (built.configuration.report_states, built.configuration.warm_start) == (True, False)


@pytest.mark.parametrize("given_value", ["SIGUSR1", "usr1", signal.SIGUSR1.value, "10", " 10 "])
def test_a_signal_is_given_by_name_or_number(given_value: Any) -> None:
    assert job(kill_signal=given_value).configuration.limits.kill_signal == signal.SIGUSR1


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("timeout_seconds", 0),
        ("timeout_seconds", "soon"),
        ("timeout_seconds", True),
        ("timeout_seconds", float("nan")),
        ("memory_limit_mb", -1),
        ("grace_seconds", -0.5),
        ("grace_seconds", float("inf")),
        ("kill_signal", "SIGNOSUCH"),
        ("kill_signal", 0),
        ("kill_signal", True),
        ("kill_signal", 10_000),
        ("nice", 20),
        ("nice", 1.5),
        ("nice", False),
        ("report_states", "perhaps"),
        ("warm_start", 7),
        ("stream_output", "loud"),
        ("command", ["true"]),
        ("env", "A=1"),
        ("labels", ["x"]),
        ("working_dir", {"a": 1}),
    ],
)
def test_a_wrong_value_is_refused_by_the_variables_name(variable: str, value: Any) -> None:
    with pytest.raises(InvalidJob, match=f"Wrong job variable: {variable}"):
        job(**{variable: value})


def test_limits_count_from_job_variables_that_the_template_does_not_mention() -> None:
    stock = {"job_configuration": {"command": "{{ command }}"}, "variables": {"properties": {}}}
    populated = populate(stock, {"timeout_seconds": 60}, {"timeout_seconds": 5}, environ={})
    built = build_job(resolve(populated, {}), run=a_run(), flow=None, engine_python=PYTHON)
    assert built.configuration.limits.timeout_seconds == 5


# --- secrets ----------------------------------------------------------------------------------


def test_secrets_are_those_from_blocks_and_those_in_variables_named_so() -> None:
    built = job(frozenset({"from-block"}), env={"DB_PASSWORD": "hunter22", "TIER": "gold"})
    assert built.secrets == {"from-block", "hunter22"}


def test_neither_the_note_nor_the_representation_shows_secrets() -> None:
    built = job(
        frozenset({"s3cr3t"}), command="run --key s3cr3t 'a b'", env={"K": "s3cr3t"}, name="s3cr3t"
    )
    assert built.summary(Masker(built.secrets)).command == "run --key ******** 'a b'"
    assert built.summary(Masker(built.secrets)).name == "********"
    assert "s3cr3t" not in repr(built)


def test_a_complaint_shows_no_values() -> None:
    with pytest.raises(InvalidJob) as refusal:
        job(frozenset({"s3cr3t"}), env="s3cr3t", nice="s3cr3t")
    assert "s3cr3t" not in str(refusal.value)


def test_the_note_keeps_what_a_successor_needs() -> None:
    note = job(
        command="true", working_dir="/srv", stream_output=False, report_states=True, nice=3
    ).summary(Masker())
    assert (note.working_dir, note.stream_output, note.report_states) == ("/srv", False, True)
    assert (note.is_engine, note.uses_runner, note.limits.nice) == (False, False, 3)
