"""Planted bugs: the simulation has to find each of them, or its silence means nothing."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import actors.dispatcher.takeover as takeover
import actors.process_supervisor.machine.beginning as machine
import actors.process_supervisor.machine.ending as ending
import actors.process_supervisor.process_supervisor as supervising
import actors.process_supervisor.reporting as proposing
import actors.process_supervisor.retries as retries
from actors.cancellation_watcher import CancellationWatcher
from actors.dispatcher.active_runs import ActiveRuns
from actors.dispatcher.admission import AdmissionControl
from actors.dispatcher.dispatcher import Dispatcher
from actors.dispatcher.takeover import Takeover
from actors.domain.errors import FailureKind
from actors.domain.ids import ClaimKey
from actors.domain.model import Aborted
from actors.domain.process import ExitStatus, ProcessExited, TreeEnded
from actors.domain.record import Reason
from actors.domain.run import CancelRun
from actors.job.job import PreparedJob
from actors.messages.dispatcher import CancelIfOurs
from actors.messages.process_supervisor import MemoryUsed
from actors.periodic_actor import StartRound
from actors.poller.poller import Poller
from actors.process_supervisor.journaling import RecordKeeping, Step
from actors.process_supervisor.machine.effects import (
    Abandon,
    Emit,
    EndTree,
    FreeSlot,
    StartTimeout,
)
from actors.process_supervisor.machine.proposals import crashed
from actors.process_supervisor.machine.stimuli import Adopted, Exited
from actors.process_supervisor.messages import KeeperAnswered, Retry
from actors.process_supervisor.output import RunOutput
from actors.process_supervisor.process_supervisor import ProcessSupervisor

Change = Callable[[Any], Any]
"""From what is there to what takes its place."""


@dataclass(frozen=True, slots=True)
class Planted:
    """A bug: ``change`` of the attribute ``name`` of ``owner``."""

    bug: str
    owner: Any
    name: str
    change: Change

    @contextlib.contextmanager
    def applied(self) -> Iterator[None]:
        """While in the context the bug is there."""
        before = getattr(self.owner, self.name)
        setattr(self.owner, self.name, self.change(before))
        try:
            yield
        finally:
            setattr(self.owner, self.name, before)


def _nothing(*args: Any, **options: Any) -> None:
    return None


def _told(kind: type[Any], change: Callable[[Any], Any]) -> Change:
    """Messages of a kind that reach an actor changed; None: not at all."""

    def changed(receive: Any) -> Any:
        def receive_changed(self: Any, message: Any) -> Any:
            if isinstance(message, kind):
                message = change(message)
            return None if message is None else receive(self, message)

        return receive_changed

    return changed


def _guess_lost_exits(fact: ProcessExited) -> ProcessExited:
    return replace(fact, status=ExitStatus(code=0)) if fact.status.code is None else fact


def _spawned_under_new_keys() -> Callable[[PreparedJob], PreparedJob]:
    numbers = itertools.count()

    def changed(prepared: PreparedJob) -> PreparedJob:
        order = prepared.order
        order = replace(order, key=ClaimKey(f"{order.key}{next(numbers):04x}"))
        return replace(prepared, order=order)

    return changed


def _refused_claims_are_ours(is_ours: Any) -> Any:
    return lambda verdict: isinstance(verdict, Aborted) or is_ours(verdict)


def _cancels_all(receive: Any) -> Any:
    def changed(self: Any, message: Any) -> Any:
        if isinstance(message, CancelIfOurs):
            for held in self._runs:
                held.supervisor.tell_if_alive(CancelRun(state=message.state))
        return receive(self, message)

    return changed


def _retries_twice(receive: Any) -> Any:
    def changed(self: Any, message: Any) -> Any:
        if isinstance(message, Retry):
            receive(self, message)
        return receive(self, message)

    return changed


def _dies_of_errors(complain: Any) -> Any:
    def changed(self: Any, error: Exception) -> None:
        raise error

    return changed


def _records_nothing(stepped: Any) -> Any:
    return lambda self, record, effects, *, is_news: stepped(self, record, effects, is_news=False)


def _waits_for_no_disk(free: Any) -> Any:
    def changed(self: Any) -> Any:
        held, self._held, self._covered = self._held, [], 0
        return held

    return changed


def _always(value: bool) -> Change:
    return lambda _: property(lambda self: value)


def _knows_no_reboot(answer: KeeperAnswered) -> KeeperAnswered:
    return KeeperAnswered(answer.kept and replace(answer.kept, rebooted=False))


def _settled_with_its_tree_alive(step: Any) -> Any:
    def changed(run: Any, stimulus: Any, *, now: Any) -> Any:
        after, effects = step(run, stimulus, now=now)
        if isinstance(stimulus, Exited):
            after, more = step(after, TreeEnded(key=after.record.key), now=now)
            effects += more
        return after, effects

    return changed


def _heard_without_receipts(step: Any) -> Any:
    def changed(run: Any, stimulus: Any, *, now: Any) -> Any:
        if isinstance(stimulus, Exited):
            stimulus = replace(stimulus, status=replace(stimulus.status, reported=None))
        return step(run, stimulus, now=now)

    return changed


def _without(kind: type[Any], when: type[Any] | None = None) -> Change:
    """Steps that lose an effect, always or after one kind of stimulus."""

    def change(step: Any) -> Any:
        def changed(run: Any, stimulus: Any, *, now: Any) -> Any:
            after, effects = step(run, stimulus, now=now)
            if when is None or isinstance(stimulus, when):
                effects = tuple(e for e in effects if not isinstance(e, kind))
            return after, effects

        return changed

    return change


def _finds_no_strays(find: Any) -> Any:
    return lambda self, kept: find(self, [])


def _claims_count_for_nothing(free_slots: Any) -> Any:
    def changed(self: Any, usage: Any) -> Any:
        free = free_slots(self, usage)
        return None if free is None else free + usage.open_claims

    return changed


def _changed(kind: type[Any], **changes: Any) -> Change:
    """Steps that ask for an effect in another way."""

    def change(step: Any) -> Any:
        def changed(run: Any, stimulus: Any, *, now: Any) -> Any:
            after, effects = step(run, stimulus, now=now)
            return after, tuple(
                replace(e, **changes) if isinstance(e, kind) else e for e in effects
            )

        return changed

    return change


def _crashed_instead(cancelled: Any) -> Any:
    return lambda record, state, *, force=False: crashed(record, "It was cancelled.")


def _remembers(show: Any) -> Any:
    def changed(self: Any, fact: Any, record: Any) -> None:
        self.__dict__.setdefault("_seen", []).append(fact)
        show(self, fact, record)

    return changed


def _polls_pile_up(receive: Any) -> Any:
    def changed(self: Any, message: Any) -> None:
        receive(self, message)
        if isinstance(message, StartRound):
            self.after(0.5, StartRound())

    return changed


BUGS: tuple[Planted, ...] = (
    Planted("reports without a look", proposing, "foreseen", lambda _: _nothing),
    Planted(
        "says Submitting without a look", proposing, "foreseen_submitting", lambda _: _nothing
    ),
    Planted(
        "guesses lost exits",
        ProcessSupervisor,
        "on_receive",
        _told(ProcessExited, _guess_lost_exits),
    ),
    Planted(
        "spawns under new keys",
        ProcessSupervisor,
        "on_receive",
        _told(PreparedJob, _spawned_under_new_keys()),
    ),
    Planted("takes others' runs", machine, "is_ours", _refused_claims_are_ours),
    Planted("cancels all runs", Dispatcher, "on_receive", _cancels_all),
    Planted("retries twice", ProcessSupervisor, "on_receive", _retries_twice),
    Planted("dies of a failed poll", Poller, "round_failed", _dies_of_errors),
    Planted("forgets what is not saved", RecordKeeping, "is_saved", _always(True)),
    Planted(
        "knows no reboot", ProcessSupervisor, "on_receive", _told(KeeperAnswered, _knows_no_reboot)
    ),
    Planted(
        "asks no keeper",
        ProcessSupervisor,
        "on_receive",
        _told(KeeperAnswered, lambda _: KeeperAnswered(None)),
    ),
    Planted("settles too early", supervising, "step", _settled_with_its_tree_alive),
    Planted("frees no slot", supervising, "step", _without(FreeSlot)),
    Planted("keeps slots at the Dispatcher", ActiveRuns, "change", lambda _: _nothing),
    Planted("resumes no end", supervising, "step", _without(EndTree, Adopted)),
    Planted("counts no claims", AdmissionControl, "slots_free", _claims_count_for_nothing),
    Planted("saves nothing", RecordKeeping, "stepped", _records_nothing),
    Planted("waits for no disk", RecordKeeping, "_free", _waits_for_no_disk),
    Planted("waits for no stuck disk", Step, "must_be_recorded", _always(False)),
    Planted("takes over nothing", Takeover, "adopt", lambda _: _take_over_nothing),
    Planted("finds no strays", Takeover, "keeper_answered", _finds_no_strays),
    Planted("gives reports up", retries, "REFUSALS", lambda _: 0),
    Planted("cancels nothing", CancellationWatcher, "_handle", lambda _: _nothing),
    Planted("retries nothing", ProcessSupervisor, "on_receive", _told(Retry, lambda _: None)),
    Planted("readopts nobody", Takeover, "resume", lambda _: _nothing),
    Planted("times out at once", supervising, "step", _changed(StartTimeout, seconds=0.0)),
    Planted("never times out", supervising, "step", _without(StartTimeout)),
    Planted("emits nothing", supervising, "step", _without(Emit)),
    Planted("gives no grace", supervising, "step", _changed(EndTree, grace_seconds=0.0)),
    Planted("calls the cancelled crashed", ending, "cancelled", _crashed_instead),
    Planted("sees no memory", Dispatcher, "_memory_measured", lambda _: _nothing),
    Planted(
        "keeps no memory limit", ProcessSupervisor, "on_receive", _told(MemoryUsed, lambda _: None)
    ),
    Planted("measures nobody", ActiveRuns, "memory_limited", lambda _: property(lambda _: {})),
    Planted("remembers output", RunOutput, "show", _remembers),
    Planted("piles polls up", Poller, "on_receive", _polls_pile_up),
    Planted("runs what others ended", machine, "may_have_been_over", lambda _: _nothing),
    Planted("sends its own signal", supervising, "step", _changed(EndTree, signal=1)),
    Planted("gives no reason", ending, "reason_of_exit", lambda _: _lost_always),
    Planted("takes no receipts", supervising, "step", _heard_without_receipts),
    Planted("retries bugs for ever", retries, "classify_failure", lambda _: _always_passing),
    Planted("readopts for ever", takeover, "MAX_FAILURES", lambda _: 1_000_000),
    Planted("waits with what it abandons", supervising, "step", _without(Abandon)),
)
"""Each is found within 500 seeds."""


def _always_passing(error: Exception) -> FailureKind:
    return FailureKind.PASSING


def _lost_always(*args: Any, **options: Any) -> Reason:
    return Reason.LOST


async def _take_over_nothing(self: Any, supervisors: Any) -> None:
    self.has_keeper_answered = True
