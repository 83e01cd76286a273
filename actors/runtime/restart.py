"""What a supervisor is told about its children, after Erlang/OTP's supervisor behaviour.

https://www.erlang.org/doc/system/sup_princ.html
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import StrEnum

from .ref import AsyncioRef


class Restart(StrEnum):
    """When a child that ended is started again."""

    PERMANENT = "permanent"
    """Always."""
    TRANSIENT = "transient"
    """After a failure, not after a stop."""
    TEMPORARY = "temporary"
    """Never."""

    def applies(self, failure: BaseException | None) -> bool:
        """Whether a child that ended with ``failure`` (None: was stopped) is started again."""
        if self is Restart.TRANSIENT:
            return failure is not None
        return self is Restart.PERMANENT


@dataclass(frozen=True, slots=True, kw_only=True)
class ChildSpec:
    """A child: ``start`` starts one, on the event loop, and is called again for each restart.

    ``shutdown_seconds`` is how long it may take to stop before it is killed; None: as long as it
    needs.
    """

    name: str
    start: Callable[[], AsyncioRef]
    restart: Restart = Restart.PERMANENT
    shutdown_seconds: float | None = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class RestartBudget:
    """At most ``intensity`` restarts within any ``period_seconds``, of all children together."""

    intensity: int
    period_seconds: float
    spent_at: tuple[float, ...] = ()

    def spend(self, now: float) -> RestartBudget:
        """The budget after one more restart at ``now`` (seconds of a monotonic clock)."""
        recent = [at for at in self.spent_at if now - at < self.period_seconds]
        return replace(self, spent_at=(*recent, now))

    @property
    def spent(self) -> int:
        """Restarts within the period that ended with the last one."""
        return len(self.spent_at)

    @property
    def is_exhausted(self) -> bool:
        """Whether the last restart was one too many."""
        return self.spent > self.intensity


class ChildDidNotStart(Exception):
    """A child failed in its constructor or ``on_start``, or took too long; see ``__cause__``."""


class BudgetExhausted(Exception):
    """A child keeps failing: its supervisor gives up. ``__cause__`` is the child's last failure.

    It is the supervisor's own failure, told to whoever watches or joins it.
    """
