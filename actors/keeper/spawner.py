"""Pending starts: at most one process per claim, however often it is ordered."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Callable

from . import recovery, spawn, spawn_errors
from .cgroup import Cgroups
from .control import ControlChannel
from .loop import READ, Loop
from .protocol import Frame
from .runs import Runs
from .spawn import InheritedState
from .spawn_errors import SpawnFailed
from .table import Run, note_of

Answer = Callable[[Run | SpawnFailed], None]


class PendingStart:
    """A forked process that has not become the command of ``order`` yet.

    ``answers`` are called once it is decided whether it does. For the others see spawn.start().
    """

    def __init__(
        self,
        order: Frame,
        note: Frame,
        output: int,
        exec_status: int,
        control: ControlChannel | None,
    ) -> None:
        self.order = order
        self.note = note
        self.output = output
        self.exec_status = exec_status
        self.control = control
        self.answers: list[Answer] = []


class Spawner:
    """Owns: _pending (starts that are not decided yet, by key)."""

    def __init__(
        self, loop: Loop, inherited: InheritedState, cgroups: Cgroups, runs: Runs
    ) -> None:
        self._loop = loop
        self._inherited = inherited
        self._cgroups = cgroups
        self._runs = runs
        self._pending: dict[str, PendingStart] = {}

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
        elif self.when_started(key, answer):
            pass
        elif (note := note_of(frame["folder"])) is not None:
            answer(recovery.resume(self._runs, frame["folder"], note))
        else:
            try:
                pending = self._fork(frame)
            except SpawnFailed as error:
                answer(error)
                return
            pending.answers.append(answer)
            self._pending[key] = pending
            self._loop.watch(pending.exec_status, READ, lambda _: self._decided(pending))

    def reaped(self, pid: int, code: int) -> None:
        """A child ended that is no run's: of a pending start, or an orphan."""
        for key, pending in list(self._pending.items()):
            if pending.note["pid"] == pid:
                self._decided(pending)
                run = self._runs.table.get(key)
                if run is not None and run.pid == pid:
                    self._runs.exited(run, code)

    def _fork(self, order: Frame) -> PendingStart:
        spawn_errors.check(order["argv"], order["env"])
        control = None
        try:
            if order["control_channel"]:
                control = ControlChannel.open(self._loop)
            started = spawn.start(order, self._inherited, self._cgroups, control)
        except OSError as error:
            if control is not None:
                control.close()
            raise SpawnFailed(f"No process could be created: {error.strerror}.") from error
        pending = PendingStart(order, *started, control)
        if control is not None:
            control.pid = pending.note["pid"]
        return pending

    def _decided(self, pending: PendingStart) -> None:
        order = pending.order
        try:
            said = os.read(pending.exec_status, 4096)
        except BlockingIOError:
            return
        del self._pending[order["key"]]
        self._loop.unwatch(pending.exec_status)
        os.close(pending.exec_status)
        if not said:
            run = Run(order["folder"], pending.note, pending.output, ours=True)
            run.control = pending.control
            self._runs.add(run)
            self._answer(pending, run)
            self._runs.keep(run)
            return
        os.close(pending.output)
        if pending.control is not None:
            pending.control.close()
        stage, number = json.loads(said)
        note = note_of(order["folder"])
        if stage == "record" and number == errno.EEXIST and note is not None:
            self._answer(pending, recovery.resume(self._runs, order["folder"], note))
        else:
            where = order["working_dir"] or pending.note["temp_dir"]
            self._answer(pending, spawn_errors.cause(stage, number, order, where))

    def _answer(self, pending: PendingStart, outcome: Run | SpawnFailed) -> None:
        for answer in pending.answers:
            answer(outcome)
