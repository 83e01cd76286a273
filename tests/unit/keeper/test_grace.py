"""SIGKILL comes when the grace period is over, whatever was done for politeness before."""

from __future__ import annotations

import signal
import socket
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from actors.keeper.control import CANCEL, ControlChannel
from actors.keeper.runs import Runs
from actors.keeper.table import Run
from tests.unit.keeper.manual_loop import ManualLoop

NOBODY = 1 << 30
"""No process has such a pid (proc_sys_kernel(5), pid_max)."""


class Scene:
    """A run whose engine is connected and says nothing."""

    def __init__(self, folder: Path, opened: ExitStack) -> None:
        self.loop = ManualLoop()
        self.runs = Runs(self.loop, lambda *_: None, lambda: True)
        note = {"key": "r.1", "pid": NOBODY, "start_ticks": 1, "boot_id": "", "pid_namespace": ""}
        self.run = Run(str(folder), note, None, ours=False)
        ours, theirs = socket.socketpair()
        self.engine = opened.enter_context(theirs)
        channel = ControlChannel.adopt(self.loop, "", ours, listening=False)
        opened.callback(channel.close)
        self.run.control = channel
        self.runs.add(self.run)


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    with ExitStack() as opened:
        yield Scene(tmp_path, opened)


@pytest.mark.parametrize(("grace", "announced"), [(30.0, 10.0), (10.0, 5.0), (0.0, 0.0)])
def test_an_engine_that_does_not_answer_has_no_more_time_than_others(
    scene: Scene, grace: float, announced: float
) -> None:
    scene.runs.end_tree(scene.run, signal.SIGTERM, grace, announce=True)
    assert scene.engine.recv(10) == CANCEL
    scene.loop.advance(announced * 0.99)
    before = scene.run.ending
    scene.loop.advance(announced * 0.01)
    ending = scene.run.ending
    assert before is None or not grace
    assert ending is not None
    assert ending.signalled or not grace
    assert ending.deadline == grace
