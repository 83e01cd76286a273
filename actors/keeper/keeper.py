"""The keeper itself: what the worker asks for, and when it is time to end."""

from __future__ import annotations

import os
import signal
import sys
import time

from .cgroup import Cgroups
from .constants import COULD_NOT_START, NOT_NOW, PROTOCOL, RUNS
from .loop import Loop, Timer
from .protocol import Frame, ProtocolError
from .recovery import resume_all
from .runs import Runs
from .server import Peer, Server
from .spawn import CAUGHT, InheritedState
from .spawn_errors import RecordRefused, SpawnFailed
from .spawner import Spawner
from .table import Run

FIRST_WORKER = 10.0
"""Seconds that a new keeper waits at least for the worker that started it."""
TIDY = 600.0
"""Seconds between removals of control groups whose processes were let live and have ended."""
TIDY_AGAIN = 0.1
"""Seconds that an ending keeper waits for processes that are on their way out."""


class Keeper:
    """Owns: everything else in this package.

    ``linger``: seconds without runs and without a worker after which it ends. ``embedded``:
    whether it ends with its worker's connection, and all runs with it; ``grace``: seconds that
    they have then between SIGTERM and SIGKILL.
    """

    def __init__(
        self,
        loop: Loop,
        inherited: InheritedState,
        cgroups: Cgroups,
        missing: list[str],
        *,
        linger: float,
        embedded: bool,
        grace: float,
    ) -> None:
        self._loop = loop
        self._cgroups = cgroups
        self._missing = missing
        self._linger_seconds = linger
        self._embedded = embedded
        self._grace = grace
        self._server = Server(loop, self._asked, self._worker_left)
        self._runs = Runs(loop, self._server.tell, self._server.listened_to)
        self._spawner = Spawner(loop, inherited, cgroups, self._runs)
        self._linger: Timer | None = None
        self._closing = False
        self._met_worker = False
        self._runs.on_change = self._consider_ending

    def start(self) -> None:
        """Take up what is recorded, and listen. Raises OSError."""
        child, *others = CAUGHT
        asked_to_end = dict.fromkeys(map(int, others), self._end_when_idle)
        self._loop.catch({int(child): self._reap, **asked_to_end})
        resume_all(self._runs, os.path.abspath(RUNS))
        self._tidy()
        self._server.listen()
        self._consider_ending()

    def _asked(self, peer: Peer, frame: Frame, descriptor: int | None) -> None:
        number, run = frame["id"], self._runs.table.get(frame.get("key", ""))
        match frame["op"]:
            case "hello":
                self._welcome(peer, number)
            case "spawn":
                self._spawn(peer, number, frame)
            case "end_tree":
                if run is not None:
                    self._end_tree(run, frame)
                else:
                    self._spawner.when_started(frame["key"], lambda it: self._end_tree(it, frame))
                peer.send({"id": number})
            case "forget":
                if run is not None:
                    self._runs.forget(run)
                peer.send({"id": number})
            case "adopt" if descriptor is not None:
                if run is not None:
                    self._runs.adopt(run, frame, descriptor)
                peer.send({"id": number})
            case "table":
                peer.send({"id": number, "runs": [run.row() for run in self._runs.table.values()]})
            case "end" if self._embedded:
                self._end_all()
            case other:
                raise ProtocolError(f"an unknown request: {other!r}")

    def _welcome(self, peer: Peer, number: int) -> None:
        self._met_worker = True
        self._consider_ending()
        peer.send(
            {
                "id": number,
                "protocol": PROTOCOL,
                "pid": os.getpid(),
                "embedded": self._embedded,
                "missing": self._missing,
            }
        )
        for run in self._runs.table.values():
            self._runs.keep(run)

    def _spawn(self, peer: Peer, number: int, frame: Frame) -> None:
        def answer(outcome: Run | SpawnFailed) -> None:
            if isinstance(outcome, SpawnFailed):
                error = NOT_NOW if isinstance(outcome, RecordRefused) else COULD_NOT_START
                peer.send({"id": number, "error": error, "message": str(outcome)})
                self._consider_ending()
            else:
                peer.send({"id": number, "run": outcome.row()})

        if self._closing:
            answer(SpawnFailed("The keeper of the runs is ending."))
        else:
            self._spawner.spawn(frame, answer)

    def _end_tree(self, run: Run | SpawnFailed, frame: Frame) -> None:
        if not isinstance(run, SpawnFailed):
            announce = frame["announce_cancel"] is True
            self._runs.end_tree(run, frame["signal"], frame["grace"], announce=announce)

    def _reap(self) -> None:
        self._runs.reap(self._spawner.reaped)

    def _worker_left(self) -> None:
        if self._embedded:
            self._end_all()
        self._consider_ending()

    def _end_all(self) -> None:
        self._closing = True
        self._server.stop_listening()
        for run in list(self._runs.table.values()):
            self._runs.end_tree(run, signal.SIGTERM, self._grace, announce=False)
        self._consider_ending()

    def _end_when_idle(self) -> None:
        print("asked to end: it will, once no run and no worker is left", file=sys.stderr)
        self._linger_seconds = 0.0
        self._consider_ending()

    def _consider_ending(self) -> None:
        if self._linger is not None:
            self._linger.cancel()
            self._linger = None
        if self._runs.busy or self._spawner.busy:
            return
        if self._closing:
            self._end()
        elif self._server.worker is None:
            seconds = max(self._linger_seconds, 0.0 if self._met_worker else FIRST_WORKER)
            self._linger = self._loop.call_later(seconds, self._end)

    def _tidy(self) -> None:
        if not self._spawner.busy:  # its group is empty until the process has entered
            self._cgroups.tidy()
        self._loop.call_later(TIDY, self._tidy)

    def _end(self) -> None:
        self._server.close()
        self._runs.close()
        if not self._cgroups.tidy():
            time.sleep(TIDY_AGAIN)
            self._cgroups.tidy()
        self._loop.stop()
