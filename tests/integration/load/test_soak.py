"""The soak command: how its parts fail, and that it says how to repeat them."""

from __future__ import annotations

import pytest

from tests import soak

SLEEPS = "import subprocess, sys; subprocess.run(['sleep', '1000'])"


def test_a_part_that_fails_is_told_by_its_exit_code() -> None:
    assert soak.Part("fine", ("-c", "pass"), seconds=60).run() is None
    assert soak.Part("bad", ("-c", "raise SystemExit(3)"), seconds=60).run() == "exit code 3"


def test_a_part_that_takes_too_long_is_ended_with_all_it_started() -> None:
    part = soak.Part("slow", ("-c", SLEEPS), seconds=0.5)
    assert part.run() == "not done after 0 s"


def test_a_command_can_be_typed_again() -> None:
    part = soak.Part("one", ("-m", "pytest", "some tests"), seconds=1, variables={"RUNS": "7"})
    assert part.command == "RUNS=7 python -m pytest 'some tests'"


def test_the_summary_names_what_failed_and_how_to_do_it_again(
    capsys: pytest.CaptureFixture[str],
) -> None:
    fine = soak.Part("fine", ("-c", "pass"), seconds=60)
    bad = soak.Part("bad", ("-c", "raise SystemExit(3)"), seconds=60)
    assert soak.run([fine]) == 0
    assert soak.run([bad, fine]) == 1
    summary = capsys.readouterr().out.rpartition("summary")[2]
    assert bad.command in summary
    assert fine.command not in summary
