"""Pending starts: at most one process per claim, however often it is ordered."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable

from . import spawn
from .cgroup import Cgroups
from .constants import CONTROL_PORT, CONTROL_TOKEN
from .control import ControlChannel
from .loop import READ, Loop
from .protocol import Frame
from .runs import Runs
from .spawn import Forked, InheritedState, Order
from .spawn_errors import SpawnFailed
from .table import Run, note_of

Resume = Callable[[str, Frame], Run]
Answer = Callable[[Run | SpawnFailed], None]


class Pending:
    """A forked process that has not become the command yet."""

    def __init__(self, order: Order, forked: Forked, control: ControlChannel | None) -> None:
        self.order = order
        self.forked = forked
        self.control = control
        self.answers: list[Answer] = []


class Spawner:
    """Owns: _pending (starts that are not decided yet, by key)."""

    def __init__(
        self, loop: Loop, inherited: InheritedState, cgroups: Cgroups, runs: Runs, resume: Resume
    ) -> None:
        self._loop = loop
        self._inherited = inherited
        self._cgroups = cgroups
        self._runs = runs
        self._resume = resume
        self._pending: dict[str, Pending] = {}

    @property
    def busy(self) -> bool:
        return bool(self._pending)

    def when_started(self, key: str, then: Answer) -> bool:
        """Calls ``then`` once the pending start of ``key`` is decided; False if there is none."""
        if key not in self._pending:
            return False
        self._pending[key].answers.append(then)
        return True

    def spawn(self, frame: Frame, answer: Answer) -> None:
        """Starts the process, or answers with the one that is (or was) there for its key."""
        key = frame["key"]
        if key in self._runs.table:
            answer(self._runs.table[key])
            return
        if self.when_started(key, answer):
            return
        note = note_of(frame["folder"])
        if note is not None:
            answer(self._resume(frame["folder"], note))
            return
        try:
            pending = self._fork(Order(frame))
        except SpawnFailed as error:
            answer(error)
            return
        pending.answers.append(answer)
        self._pending[key] = pending
        self._loop.watch(pending.forked.exec_status, READ, lambda _: self._decided(pending))

    def reaped(self, pid: int, how: Frame) -> None:
        """A child ended that is no run's: of a pending start, or an orphan."""
        for pending in list(self._pending.values()):
            if pending.forked.pid == pid:
                self._decided(pending)
                run = self._runs.table.get(pending.order.key)
                if run is not None and run.pid == pid:
                    self._runs.exited(run, how)

    def _fork(self, order: Order) -> Pending:
        control = None
        extra = {}
        try:
            if order.control_channel:
                control = ControlChannel.open(self._loop)
                extra = {CONTROL_PORT: str(control.port), CONTROL_TOKEN: control.token}
            env = spawn.run_environment(order, extra)
            forked = spawn.start(order, env, self._inherited, self._cgroups)
        except OSError as error:
            if control is not None:
                control.close()
            raise SpawnFailed(f"No process could be created: {error.strerror}.") from error
        if control is not None:
            control.pid = forked.pid
        return Pending(order, forked, control)

    def _decided(self, pending: Pending) -> None:
        forked, order = pending.forked, pending.order
        try:
            said = os.read(forked.exec_status, 4096)
        except BlockingIOError:
            return
        del self._pending[order.key]
        self._loop.unwatch(forked.exec_status)
        os.close(forked.exec_status)
        failure = spawn.failure(said)
        if failure is None:
            run = Run.from_note(order.folder, forked.note, forked.output, ours=True)
            run.control = pending.control
            self._runs.add(run)
            self._answer(pending, run)
            self._runs.keep(run)
            return
        os.close(forked.output)
        if pending.control is not None:
            pending.control.close()
        note = note_of(order.folder)
        if failure == ("record", errno.EEXIST) and note is not None:
            self._answer(pending, self._resume(order.folder, note))
        else:
            self._answer(pending, spawn.cause(failure, order, forked.note))

    def _answer(self, pending: Pending, outcome: Run | SpawnFailed) -> None:
        for answer in pending.answers:
            answer(outcome)
