"""What the services that work in rounds have in common: the rhythm, and what a failure means."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Generic, TypeVar

from .domain.log_once import Log, LogOnce
from .runtime import ActorDeadError, AsyncioActor, Timeout, Timer

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class StartRound:
    """To itself: it is time for the next round."""


@dataclass(frozen=True, slots=True)
class _RoundEnded(Generic[T]):
    result: T


@dataclass(frozen=True, slots=True)
class _RoundFailed:
    error: Exception


@dataclass(frozen=True, slots=True, kw_only=True)
class PeriodicView:
    """What a PeriodicActor shows of itself."""

    trouble: str | None
    """Why the last round failed; None: it did not."""


class PeriodicActor(AsyncioActor, Generic[T]):
    """Owns: the rhythm of its rounds, and _trouble (why the last one failed).

    The first round is at the start, after a restart too. A round takes its time beside the
    mailbox; the next one follows its end after a pause. One that fails costs nothing but itself:
    the failure is logged once, as ``failure_event``, and so is its end, as ``recovery_event``.
    """

    failure_event: ClassVar[str]
    recovery_event: ClassVar[str]

    def __init__(self, *, log: Log) -> None:
        super().__init__()
        self._log = log
        self._next_round: Timer | None = None
        self._goes_on_at_once = self._rounds_are_over = False
        self._trouble = LogOnce()

    def inspect(self) -> object:
        return PeriodicView(trouble=self._trouble.reported)

    def on_start(self) -> None:
        self._start_round()

    def on_receive(self, message: object) -> Any:
        """Subclasses handle messages of their own and leave the rest to this."""
        match message:
            case StartRound():
                self._start_round()
            case _RoundEnded(result=result):
                self.round_ended(result)
                self._rest()
            case _RoundFailed(error=error):
                self.round_failed(error)
                self._rest()
            case _:
                super().on_receive(message)

    def wake(self) -> None:
        """Start the next round at once, or right after the one that is under way."""
        if self._next_round is not None and self._next_round.cancel():
            self._start_round()
        else:
            self._goes_on_at_once = True

    def end_rounds(self) -> None:
        """Let the round that is under way be the last one."""
        self._rounds_are_over = True

    def _start_round(self) -> None:
        self._goes_on_at_once = False
        self.pipe(self.work(), on_result=_RoundEnded, on_error=_RoundFailed)

    def _rest(self) -> None:
        if not self._rounds_are_over:
            pause = 0.0 if self._goes_on_at_once else self.pause_seconds()
            self._next_round = self.after(pause, StartRound())

    # -- for subclasses --------------------------------------------------------------------------

    def pause_seconds(self) -> float:
        raise NotImplementedError

    async def work(self) -> T:
        raise NotImplementedError

    def round_ended(self, result: T) -> None:
        """What follows from a round; all is well by default."""
        if self._trouble.resolve():
            self._log.info(self.recovery_event)

    def round_failed(self, error: Exception) -> None:
        """What follows from a failure."""
        expected = (ActorDeadError, Timeout)
        self._trouble.log_failure(self._log, self.failure_event, error, expected=expected)
