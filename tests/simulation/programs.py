"""What runs do in a simulation: engines of both generations, commands, and their bad manners."""

from __future__ import annotations

from random import Random

from actors.domain.errors import NotFound
from actors.domain.ids import FlowRunId
from actors.domain.model import Accepted, StateType, Verdict, Wait
from actors.domain.ports import Clock
from actors.testing.prefect_world import PrefectWorld
from actors.testing.processes import ScriptedProcess

from .plan import Program

SIGTERM = 15
HOOKS_SECONDS = 20.0
"""How long hooks may take."""
CLEANUP_SECONDS = 3.0
"""How long a program that is slow to end takes."""


class Performance:
    """One process playing its program. Engines tell the server their states."""

    def __init__(
        self, program: Program, process: ScriptedProcess, server: PrefectWorld, clock: Clock
    ) -> None:
        self._program = program
        self._process = process
        self._server = server
        self._clock = clock
        self._run_id = FlowRunId(process.order.env["PREFECT__FLOW_RUN_ID"])
        self._has_printed = False
        self._is_engine = program.sort == "engine"
        process.lingers_seconds = program.lingers
        process.on_signal = self._signalled
        if program.outcome == "crashes" and program.boot == 0.0:
            process.end(program.code)
        else:
            clock.call_later(program.boot, self._begin)

    def _begin(self) -> None:
        program, process = self._program, self._process
        if process.exit is not None:
            return
        if not self._has_printed:
            self._has_printed = True
            for number in range(program.prints):
                process.print(f"line {number}")
        verdict = self._report(StateType.RUNNING)
        if isinstance(verdict, Wait):
            self._clock.call_later(verdict.delay_seconds, self._begin)
        elif self._is_engine and not isinstance(verdict, Accepted):
            process.end(0)  # the server would not have it: an engine leaves without a word
        elif program.outcome != "sleeps":
            self._clock.call_later(program.work, self._finish)

    def _finish(self) -> None:
        if self._process.exit is not None:
            return
        match self._program.outcome:
            case "completes":
                self._report(StateType.COMPLETED)
                self._leave("Completed")
            case "fails" if self._is_engine and self._server.server >= (3, 8):
                self._report(StateType.FAILED)
                self._leave("Failed")
            case "fails":
                self._report(StateType.FAILED)
                self._process.end(1)
            case _:
                self._process.end(self._program.code)

    def _leave(self, state: str) -> None:
        """Engines from 3.8.4 on send a receipt first, whatever their process ends with."""
        sends_receipt = self._is_engine and self._server.server >= (3, 8)
        code = self._program.code if sends_receipt and self._program.ends_badly else 0
        self._process.end(code, reported=state if sends_receipt else None)

    def _signalled(self, process: ScriptedProcess, number: int) -> None:
        """What a signal does to it."""
        match self._program.on_signal:
            case "ignores":
                return
            case "slow":
                self._clock.call_later(CLEANUP_SECONDS, lambda: process.end(-number))
            case "crashed" if self._is_engine and self._server.server >= (3, 7):
                self._report(StateType.CRASHED, force=True)
                process.end(-number)
            case "cancels" if self._is_engine and process.told_to_cancel:
                self._report(StateType.CANCELLED)
                process.end(0)
            case _:
                process.end(-number)

    def _report(self, type_: StateType, *, force: bool = False) -> Verdict | None:
        if not self._is_engine:
            return None
        try:
            return self._server.set_state(self._run_id, type_, force=force)
        except NotFound:
            return None


def perform_hooks(process: ScriptedProcess, rng: Random) -> None:
    """Hooks end soon, well or badly, or never."""
    process.ignores_signals = rng.random() < 0.3
    seconds, code = rng.choice(((1.0, 0), (5.0, 0), (3.0, 1), (1e9, 0)))
    process.clock.call_later(seconds, lambda: process.end(code))
