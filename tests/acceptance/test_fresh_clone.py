"""The README's two commands, word by word, in a fresh clone: what a newcomer does first."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from tests.acceptance.command import ROOT, Command, environment

pytestmark = pytest.mark.slow


def commands() -> tuple[str, str]:
    """The two commands of the README's first screen."""
    readme = (ROOT / "README.rst").read_text(encoding="utf-8")
    first, second = re.findall(r"^    (\S.*)$", readme.partition("\nQuickstart\n")[0], re.M)
    return first, second


def test_the_readmes_commands_work_in_a_fresh_clone(tmp_path: Path) -> None:
    quickstart, tests = commands()
    clone = tmp_path / "clone"
    subprocess.run(["git", "clone", "--quiet", str(ROOT), str(clone)], check=True, timeout=120)
    env = environment(XDG_DATA_HOME=str(tmp_path / "data"))

    with Command(quickstart, env=env, cwd=clone) as command:
        command.until("Ctrl-C ends both.")
        for flow, state in (
            ("succeeds", "Completed"),
            ("fails", "Failed"),
            ("crashes", "Crashed"),
            ("gets-cancelled", "Cancelled"),
        ):
            assert re.search(rf"^{flow} +{state} ", command.said, re.MULTILINE)
        command.interrupt()
        command.until("Stopping")
        command.exit_code()

    remove = ".venv/bin/actor-worker quickstart --remove"
    with Command(remove, env=env, cwd=clone) as command:
        assert command.exit_code() == 0
    assert not (tmp_path / "data" / "actor-worker").exists()

    # all of the tests would clone again, and so on; a few show that the command works
    few = f"{tests} tests/unit/app/test_identity.py"
    with Command(few, env=env, cwd=clone) as command:
        assert command.exit_code() == 0
        assert " passed" in command.said
