from __future__ import annotations

import subprocess
import sys

import pytest

from actors.cli.main import run
from actors.cli.options import SectionOption, start_options
from actors.settings.settings import Settings


def options() -> dict[str, SectionOption]:
    """The options of ``start`` by the setting that each one gives."""
    return {str(option.name): option for option in start_options()}


NOT_OPTIONS = {"embedded", "prefect"}
"""For programs that use the worker as a library, and for Prefect's own settings."""

NO_SETTINGS = {"install_policy"}


def test_every_setting_is_an_option_and_the_other_way_round() -> None:
    assert set(options()) - NO_SETTINGS == set(Settings.model_fields) - NOT_OPTIONS


def test_the_options_of_prefects_worker_are_all_there() -> None:
    names = {
        name for option in options().values() for name in (*option.opts, *option.secondary_opts)
    }
    assert names >= {
        *("-n", "--name", "-p", "--pool", "-q", "--work-queue", "-t", "--type", "-l", "--limit"),
        *("--prefetch-seconds", "--run-once", "--no-run-once", "--with-healthcheck"),
        *("--install-policy", "--base-job-template"),
        *("--create-pool-if-not-found", "--no-create-pool-if-not-found"),
    }


@pytest.mark.parametrize(
    ("field", "words"),
    [
        ("work_queues", "[default: all queues]"),
        ("memory_pause_percent", "[default: 95]"),
        ("query_seconds", "[default: 10, or PREFECT_WORKER_QUERY_SECONDS]"),
        ("run_once", "[default: no-run-once]"),
        ("end_leftovers", "[default: end-leftovers]"),
        ("on_deadline", "[default: terminate]"),
        ("keep_runs", "[default: 1000]"),
    ],
)
def test_the_help_names_what_holds_without_an_option(field: str, words: str) -> None:
    assert str(options()[field].help).endswith(words)


def test_what_is_required_or_has_no_default_names_none() -> None:
    for field in ("pool", "base_job_template", "config"):
        assert "default" not in str(options()[field].help)


def test_every_option_says_what_it_is_for() -> None:
    for option in options().values():
        assert option.help


@pytest.mark.parametrize("arguments", [["start", "--help"], ["--help"], ["quickstart", "-h"]])
def test_help_is_shown_and_is_a_success(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(arguments) == 0
    assert "Usage: actor-worker" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "Commands:"),
        (["strat"], "Did you mean 'start'?"),
        (["start", "--limt", "3"], "Did you mean '--limit'?"),
        (["start", "-p", "p", "--limit", "x"], "'x' is not a valid integer"),
        (["start", "-p", "p", "--limit", "0"], "--limit (command line): 0 is wrong: "),
        (["start", "-p", "p", "-t", "docker"], "Input should be 'process'"),
        (["start", "-p", "p", "--install-policy", "maybe"], "is not one of"),
        (["start", "-p", "p", "--config", "/no/such/file"], "cannot be read"),
        (["start", "-p", "p", "--base-job-template", "/no/such/file"], "cannot be read"),
        (["start", "-p", "p", "-n", "a/b"], "contains '/' or '%'"),
        (["quickstart", "--python", "/no/such/python"], "there is no such file"),
    ],
)
def test_a_wrong_command_line_is_answered_in_words_with_exit_code_2(
    arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(arguments) == 2
    said = capsys.readouterr()
    assert words in said.err
    assert "Traceback" not in said.err
    assert said.out == ""


def test_windows_is_refused_in_a_clear_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["start", "-p", "p"], platform="win32") == 2
    assert "does not run on Windows yet" in capsys.readouterr().err


def test_help_does_not_wait_for_imports_that_only_a_worker_needs() -> None:
    program = (
        "import sys; from actors.cli.main import run; run(['start', '--help']);"
        "sys.exit(', '.join({'asyncio', 'pydantic_settings', 'requests', 'structlog', 'pykka'}"
        " & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.stderr.strip() == ""
