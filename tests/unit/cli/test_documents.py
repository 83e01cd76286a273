"""What is written for people about settings is what the code has."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

from actors.cli.main import FAILURE, INTERRUPTED, USAGE
from actors.job.configuration import ProcessJobConfiguration
from actors.settings.worker_settings import WorkerSettings
from tests.support.reference import example_file, with_table

ROOT = Path(__file__).resolve().parents[3]
README = (ROOT / "README.rst").read_text(encoding="utf-8")
EXAMPLE = (ROOT / "config" / "actor-worker.toml").read_text(encoding="utf-8")


def section(title: str) -> str:
    """The text below a heading of the README, up to the next."""
    _, _, rest = README.partition(f"\n{title}\n")
    return re.split(r"\n[^\n]+\n(?:===|---)+\n", rest[len(title) + 1 :])[0]


def test_the_readmes_table_of_options_is_what_the_settings_say() -> None:
    assert with_table(README) == README, "write it with: python -m tests.support.reference"


def test_the_example_file_is_what_the_settings_say() -> None:
    assert example_file() == EXAMPLE, "write it with: python -m tests.support.reference"


def test_every_job_variable_is_in_the_readme_with_its_default() -> None:
    rows = re.findall(r"^``(\w+)`` {2,}(\S+) ", section("Job variables"), re.MULTILINE)
    assert [name for name, _ in rows] == list(ProcessJobConfiguration.model_fields)
    for name, said in rows:
        default = ProcessJobConfiguration.model_fields[name].get_default(call_default_factory=True)
        if default is None or default == {}:
            assert said == "none"
        elif isinstance(default, float):
            assert float(said) == default
        else:
            assert said == str(default).lower() or said == default


def test_the_exit_codes_are_in_the_readme() -> None:
    codes = re.findall(r"^(\d+) ", section("Exit codes"), re.MULTILINE)
    assert [int(code) for code in codes] == [0, FAILURE, USAGE, INTERRUPTED]


def test_the_example_has_every_setting_and_its_values_are_accepted() -> None:
    text = re.sub(r"^#(?=\w+ = )", "", EXAMPLE, flags=re.MULTILINE)
    values = tomllib.loads(text)
    assert set(values) == set(WorkerSettings.model_fields) - {"config"}
    del values["base_job_template"]
    WorkerSettings(**values)


def test_the_example_changes_nothing_as_it_is() -> None:
    assert tomllib.loads(EXAMPLE) == {}


def test_ci_runs_all_of_the_tests_whose_command_the_readme_names() -> None:
    first_screen = README.partition("\nQuickstart\n")[0]
    commands = re.findall(r"^    (\S.*)$", first_screen, re.MULTILINE)
    assert len(commands) == 2
    assert f"try {commands[1]} --all\n" in (ROOT / ".ci" / "run").read_text(encoding="utf-8")
