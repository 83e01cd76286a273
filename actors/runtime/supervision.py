"""A supervisor starts actors in order, restarts the one that failed, stops them in reverse."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from types import TracebackType
from typing import Any

from pykka import ActorDeadError, Timeout

from .actor import AsyncioActor
from .address import Directory
from .clock import Clock, LoopClock
from .query import Order, Ping
from .ref import AsyncioRef
from .restart import BudgetExhausted, ChildDidNotStart, ChildSpec, RestartBudget

logger = logging.getLogger(__name__)


async def shut_down(
    ref: AsyncioRef, within_seconds: float | None, *, clock: Clock | None = None
) -> None:
    """Stop an actor and return when it has ended.

    After ``within_seconds`` it is killed, and after as many again what its ``on_failure`` may be
    doing is cut short. None: it may take as long as it needs.
    """
    if ref.is_alive():
        ref.stop(block=False)
    clock = LoopClock() if clock is None else clock
    waits = () if within_seconds is None else (within_seconds, 2 * within_seconds)
    kills = [clock.call_later(seconds, ref.kill) for seconds in waits]
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
        start_seconds: float = 10.0,
        clock: Clock | None = None,
    ) -> None:
        super().__init__(clock=clock)
        self._specs = tuple(children)
        self._children: dict[str, AsyncioRef] = {}
        self._budget = budget
        self._directory = directory
        self._backoff = backoff
        self._start_seconds = start_seconds

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

    async def on_failure(
        self,
        exception_type: type[BaseException] | None,
        exception_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
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
            await ref.request(Ping(), timeout=self._start_seconds)
        except (ActorDeadError, Timeout) as error:
            await shut_down(ref, 0.0, clock=self._actor_clock)
            raise ChildDidNotStart(f"{spec.name} did not start") from (ref.failure or error)
        self.watch(ref, lambda failure: _ChildEnded(spec, failure))

    def _child_ended(self, spec: ChildSpec, failure: BaseException | None) -> None:
        if spec.restart.applies(failure):
            self._plan_restart(spec, failure)
        else:
            del self._children[spec.name]

    def _plan_restart(self, spec: ChildSpec, cause: BaseException | None) -> None:
        self._budget = budget = self._budget.spend(self._actor_clock.monotonic())
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
            for spec in reversed(self._specs):
                if spec.name in self._children:
                    ref = self._children[spec.name]
                    await shut_down(ref, spec.shutdown_seconds, clock=self._actor_clock)
                    del self._children[spec.name]
        except BaseException:
            for ref in self._children.values():
                ref.kill()
            raise


class _ChildEnded(Order):
    __slots__ = ("_failure", "_spec")

    def __init__(self, spec: ChildSpec, failure: BaseException | None) -> None:
        self._spec = spec
        self._failure = failure

    def carry_out(self, actor: Any) -> None:
        actor._child_ended(self._spec, self._failure)


class _StartAgain(Order):
    __slots__ = ("_spec",)

    def __init__(self, spec: ChildSpec) -> None:
        self._spec = spec

    def carry_out(self, actor: Any) -> Any:
        return actor._start_again(self._spec)
