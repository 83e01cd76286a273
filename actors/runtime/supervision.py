"""A supervisor starts actors in order, restarts the one that failed, stops them in reverse.

After Erlang/OTP's supervisor: https://www.erlang.org/doc/system/sup_princ.html
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any

from pykka import ActorDeadError, Timeout

from .actor import AsyncioActor
from .address import Directory
from .query import Order, Ping
from .ref import AsyncioRef

logger = logging.getLogger(__name__)


START_SECONDS = 10.0
"""How long a child may take to start."""

SHUTDOWN_SECONDS = 5.0
"""How long a child may take to stop before it is killed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChildSpec:
    """A child: ``start`` starts one, on the event loop, and is called again for each restart."""

    name: str
    start: Callable[[], AsyncioRef]


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

    It is the supervisor's own failure, which its watchers and joiners receive.
    """


async def shut_down(ref: AsyncioRef, within_seconds: float) -> None:
    """Stop an actor and return when it has ended.

    After ``within_seconds`` it is killed, and after as many again what its ``on_failure`` may be
    doing is cut short.
    """
    if ref.is_alive():
        ref.stop(block=False)
    loop = asyncio.get_running_loop()
    kills = [loop.call_later(turn * within_seconds, ref.kill) for turn in (1, 2)]
    try:
        await ref.joined()
    finally:
        for kill in kills:
            kill.cancel()


class Supervisor(AsyncioActor):
    """Owns: its children (name -> ref) and their budget of restarts.

    Each child is pinged after its start, so the next one, and whoever pinged the supervisor, can
    rely on it; one that does not start in time ends a starting supervisor and costs a running
    one a restart. A failed child is restarted alone (OTP's one_for_one), ``backoff(n)`` seconds
    after the n-th failure within the budget's period. When the budget is spent the supervisor
    stops all children and fails with BudgetExhausted. Children are in ``directory`` by name.

    Subclasses are free to have messages of their own; they call ``super()`` in hooks.
    """

    def __init__(
        self,
        children: Iterable[ChildSpec],
        *,
        budget: RestartBudget,
        directory: Directory,
        backoff: Callable[[int], float] = lambda _failures: 0.0,
    ) -> None:
        super().__init__()
        self._specs = tuple(children)
        self._children: dict[str, AsyncioRef] = {}
        self._budget = budget
        self._directory = directory
        self._backoff = backoff

    async def on_start(self) -> None:
        """Start the children in order. ChildDidNotStart after stopping those that did."""
        try:
            for spec in self._specs:
                await self._start_child(spec)
        except BaseException:
            await self._stop_children()
            raise

    async def on_stop(self) -> None:
        """Stop the children, the last one first."""
        await self._stop_children()

    async def on_failure(self, *exc_info: Any) -> None:
        """Stop the children, the last one first."""
        await self._stop_children()

    async def _start_child(self, spec: ChildSpec) -> None:
        try:
            ref = spec.start()
        except Exception as error:
            raise ChildDidNotStart(f"{spec.name} could not be created") from error
        self._children[spec.name] = ref
        self._directory.register(spec.name, ref)
        try:
            await ref.request(Ping(), timeout=START_SECONDS)
        except (ActorDeadError, Timeout) as error:
            await shut_down(ref, 0.0)
            raise ChildDidNotStart(f"{spec.name} did not start") from (ref.failure or error)
        self.watch(ref, lambda failure: _ChildEnded(spec, failure))

    def _plan_restart(self, spec: ChildSpec, cause: BaseException | None) -> None:
        self._budget = budget = self._budget.spend(asyncio.get_running_loop().time())
        if budget.is_exhausted:
            raise BudgetExhausted(
                f"{spec.name} failed, and more than {budget.intensity} restarts within "
                f"{budget.period_seconds:g} s are not allowed"
            ) from cause
        delay = self._backoff(budget.spent)
        logger.warning(
            "actor.restarting", extra={"actor": spec.name, "delay": delay, "cause": repr(cause)}
        )
        self.after(delay, _StartAgain(spec))

    async def _start_again(self, spec: ChildSpec) -> None:
        try:
            await self._start_child(spec)
        except ChildDidNotStart as error:
            self._plan_restart(spec, error.__cause__)

    async def _stop_children(self) -> None:
        """Idempotent. One that is killed meanwhile leaves no child behind either."""
        try:
            for name, ref in reversed(tuple(self._children.items())):
                await shut_down(ref, SHUTDOWN_SECONDS)
                del self._children[name]
        except BaseException:
            for ref in self._children.values():
                ref.kill()
            raise


@dataclass(frozen=True, slots=True)
class _ChildEnded(Order):
    spec: ChildSpec
    failure: BaseException | None

    def carry_out(self, actor: Any) -> None:
        actor._plan_restart(self.spec, self.failure)


@dataclass(frozen=True, slots=True)
class _StartAgain(Order):
    spec: ChildSpec

    def carry_out(self, actor: Any) -> Any:
        return actor._start_again(self.spec)
