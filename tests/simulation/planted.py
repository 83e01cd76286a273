"""Planted bugs: the simulation has to find each of them, or its silence means nothing."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import actors.dispatcher.takeover as takeover
import actors.process_supervisor.retries as retries
from actors.cancellation_watcher.cancellation_watcher import CancellationWatcher
from actors.deliveries import EventEmitter
from actors.dispatcher.admission import AdmissionControl
from actors.dispatcher.dispatcher import Dispatcher
from actors.domain.errors import FailureKind, StateFolderError, classify_failure
from actors.domain.ids import ClaimKey
from actors.domain.model import Aborted, Accepted, StateType, WorkerEvent
from actors.domain.process import ExitStatus, OutputWritten, ProcessExited, TreeEnded
from actors.domain.record import Reason
from actors.domain.run import CancelRun, EndRun
from actors.messages.cancellation_watcher import EventsFlow
from actors.messages.dispatcher import CancelIfOurs, MemoryMeasured, RunInfo, RunsDeleted
from actors.messages.process_supervisor import CurrentRun, MemoryUsed
from actors.periodic_actor import StartRound
from actors.poller.poller import Poller
from actors.process_supervisor.machine.beginning import is_ours, may_have_been_over
from actors.process_supervisor.machine.effects import (
    Abandon,
    EndTree,
    StartHooksTimeout,
    StartTimeout,
)
from actors.process_supervisor.machine.ending import reason_of_exit
from actors.process_supervisor.machine.hooks import crash_answered
from actors.process_supervisor.machine.proposals import (
    cancelled,
    crashed,
    foreseen,
)
from actors.process_supervisor.machine.step import step
from actors.process_supervisor.machine.stimuli import Adopted
from actors.process_supervisor.messages import Retry
from actors.process_supervisor.process_supervisor import ProcessSupervisor

from .planting import Change, Planted, changed, decision, lost, message, public_name
from .stream import LifeStream, without_an_end
from .worker_ports import LifeJournal, LifeLauncher, SimulatedMemory

GIVES_UP_SECONDS = 10.0
"""How long a stuck disk is waited for by a worker that does not wait as long as it takes."""


def _always(value: Any) -> Change:
    return lambda _: lambda *args, **options: value


# -- messages on their way -----------------------------------------------------------------------


def _guess_lost_exit(fact: ProcessExited) -> ProcessExited:
    return replace(fact, status=ExitStatus(code=0)) if fact.status.code is None else fact


def _without_receipt(fact: ProcessExited) -> ProcessExited:
    return replace(fact, status=replace(fact.status, reported=None))


def _tree_ends_too(actor: Any, fact: ProcessExited) -> Iterable[Any]:
    return fact, TreeEnded(key=fact.key)


def _one_for_each_run(dispatcher: Dispatcher, question: CancelIfOurs) -> Iterable[Any]:
    for info in dispatcher.inspect().runs:
        yield replace(question, run_id=info.run.id)
    yield question


def _twice(actor: Any, message: Any) -> Iterable[Any]:
    return message, message


def _lost_if_it_frees_a_slot(actor: Any, info: RunInfo) -> Iterable[Any]:
    return (info,) if info.holds_slot else ()


def _lost_if_time_is_up(actor: Any, order: EndRun) -> Iterable[Any]:
    return () if order.reason is Reason.TIMED_OUT else (order,)


def _remembered(actor: Any, fact: OutputWritten) -> Iterable[Any]:
    vars(actor).setdefault("remembered", []).append(fact)
    return (fact,)


def _another_soon(poller: Poller, message: StartRound) -> Iterable[Any]:
    poller.after(0.5, StartRound())
    return (message,)


# -- ports ---------------------------------------------------------------------------------------


def _spawns_under_new_keys(spawn: Any) -> Any:
    numbers = itertools.count()

    async def instead(self: Any, order: Any, listener: Any) -> Any:
        key = ClaimKey(f"{order.key}{next(numbers):04x}")
        return await spawn(self, replace(order, key=key), listener)

    return instead


def _knows_no_reboot(watch: Any) -> Any:
    async def instead(self: Any, *args: Any) -> Any:
        kept = await watch(self, *args)
        return kept and replace(kept, rebooted=False)

    return instead


def _is_told_nothing(watch: Any) -> Any:
    async def instead(self: Any, *args: Any) -> None:
        await watch(self, *args)

    return instead


def _finds_nothing(read: Any) -> Any:
    async def instead(self: Any) -> list[Any]:
        await read(self)
        return []

    return instead


def _orders(**otherwise: Any) -> Change:
    """Trees are ended otherwise than the machine has decided."""

    def change(end_tree: Any) -> Any:
        async def instead(self: Any, key: ClaimKey, **options: Any) -> None:
            await end_tree(self, key, **options | otherwise)

        return instead

    return change


async def _save_nothing(self: Any, record: Any) -> None:
    return None


def _takes_no_error(save: Any) -> Any:
    async def instead(self: Any, record: Any) -> None:
        with contextlib.suppress(StateFolderError):
            await save(self, record)

    return instead


def _waits_for(seconds: float) -> Change:
    """Records count as saved after so long."""

    def change(save: Any) -> Any:
        async def instead(self: Any, record: Any) -> None:
            saving = asyncio.ensure_future(save(self, record))
            done, _ = await asyncio.wait({saving}, timeout=seconds)
            if done:
                saving.result()

        return instead

    return change


def _measures_nobody(sample: Any) -> Any:
    return lambda self, runs: sample(self, {})


# -- decisions -----------------------------------------------------------------------------------


def _refused_claims_are_ours(is_ours: Any) -> Any:
    return lambda verdict: isinstance(verdict, Aborted) or is_ours(verdict)


def _as_if_taken(crash_answered: Any) -> Any:
    def instead(turn: Any, report: Any, verdict: Any, state: Any) -> None:
        if state is not None and state.type.is_terminal:
            state = replace(state, type=StateType.CRASHED)
            verdict = Accepted(state=state)
        crash_answered(turn, report, verdict, state)

    return instead


def _crashed_instead(cancelled: Any) -> Any:
    return lambda record, state, *, force=False: crashed(record, "It was cancelled.")


def _claims_count_for_nothing(slots_free: Any) -> Any:
    def instead(self: Any, usage: Any) -> Any:
        free = slots_free(self, usage)
        return None if free is None else free + usage.open_claims

    return instead


def _dies_of_errors(round_failed: Any) -> Any:
    def instead(self: Any, error: Exception) -> None:
        raise error

    return instead


def _without(kind: type[Any], when: type[Any] = object) -> Change:
    """Steps that lose an effect, always or after one kind of stimulus."""

    def change(step: Any) -> Any:
        def instead(run: Any, stimulus: Any, *, now: Any) -> Any:
            after, effects = step(run, stimulus, now=now)
            if isinstance(stimulus, when):
                effects = tuple(e for e in effects if not isinstance(e, kind))
            return after, effects

        return instead

    return change


def _at_once(step: Any) -> Any:
    def instead(run: Any, stimulus: Any, *, now: Any) -> Any:
        after, effects = step(run, stimulus, now=now)
        return after, tuple(
            replace(e, seconds=0.0) if isinstance(e, StartTimeout) else e for e in effects
        )

    return instead


# -- the bugs ------------------------------------------------------------------------------------

BUGS: tuple[Planted, ...] = (
    Planted("reports without a look", decision(foreseen, _always(None))),
    Planted(
        "guesses lost exits",
        message(ProcessSupervisor, ProcessExited, changed(_guess_lost_exit)),
    ),
    Planted("spawns under new keys", public_name(LifeLauncher, "spawn", _spawns_under_new_keys)),
    Planted("takes others' runs", decision(is_ours, _refused_claims_are_ours)),
    Planted("cancels all runs", message(Dispatcher, CancelIfOurs, _one_for_each_run)),
    Planted("retries twice", message(ProcessSupervisor, Retry, _twice)),
    Planted("dies of a failed poll", public_name(Poller, "round_failed", _dies_of_errors)),
    Planted("forgets what is not saved", public_name(LifeJournal, "save", _takes_no_error)),
    Planted("knows no reboot", public_name(LifeLauncher, "watch", _knows_no_reboot)),
    Planted("asks no keeper", public_name(LifeLauncher, "watch", _is_told_nothing)),
    Planted("settles too early", message(ProcessSupervisor, ProcessExited, _tree_ends_too)),
    Planted("frees no slot", message(Dispatcher, RunInfo, _lost_if_it_frees_a_slot)),
    Planted("keeps slots at the Dispatcher", message(Dispatcher, RunInfo, lost)),
    Planted("resumes no end", decision(step, _without(EndTree, Adopted))),
    Planted(
        "counts no claims", public_name(AdmissionControl, "slots_free", _claims_count_for_nothing)
    ),
    Planted("saves nothing", public_name(LifeJournal, "save", lambda _: _save_nothing)),
    Planted("waits for no disk", public_name(LifeJournal, "save", _waits_for(0.0))),
    Planted(
        "waits for no stuck disk", public_name(LifeJournal, "save", _waits_for(GIVES_UP_SECONDS))
    ),
    Planted(
        "takes over nothing",
        message(ProcessSupervisor, CurrentRun, lost),
        public_name(LifeJournal, "open_records", _finds_nothing),
        public_name(LifeLauncher, "table", _finds_nothing),
    ),
    Planted("finds no strays", public_name(LifeLauncher, "table", _finds_nothing)),
    Planted("gives reports up", public_name(retries, "REFUSALS", lambda _: 0)),
    Planted("ends no deleted runs", message(Dispatcher, RunsDeleted, lost)),
    Planted("cancels nothing", message(ProcessSupervisor, CancelRun, lost)),
    Planted("notices no end of the stream", public_name(LifeStream, "subscribe", without_an_end)),
    Planted(
        "relies on no proof",
        message(CancellationWatcher, EventsFlow, changed(lambda _: EventsFlow(True))),
    ),
    Planted("retries nothing", message(ProcessSupervisor, Retry, lost)),
    Planted("readopts nobody", message(Dispatcher, takeover.Resume, lost)),
    Planted("times out at once", decision(step, _at_once)),
    Planted("never times out", message(ProcessSupervisor, EndRun, _lost_if_time_is_up)),
    Planted("emits nothing", message(EventEmitter, WorkerEvent, lost)),
    Planted("gives no grace", public_name(LifeLauncher, "end_tree", _orders(grace_seconds=0.0))),
    Planted("calls the cancelled crashed", decision(cancelled, _crashed_instead)),
    Planted("sees no memory", message(Dispatcher, MemoryMeasured, lost)),
    Planted("keeps no memory limit", message(ProcessSupervisor, MemoryUsed, lost)),
    Planted("measures nobody", public_name(SimulatedMemory, "sample", _measures_nobody)),
    Planted("remembers output", message(ProcessSupervisor, OutputWritten, _remembered)),
    Planted("piles polls up", message(Poller, StartRound, _another_soon)),
    Planted("runs what others ended", decision(may_have_been_over, _always(False))),
    Planted("sends its own signal", public_name(LifeLauncher, "end_tree", _orders(signal=1))),
    Planted("gives no reason", decision(reason_of_exit, _always(Reason.LOST))),
    Planted(
        "takes no receipts", message(ProcessSupervisor, ProcessExited, changed(_without_receipt))
    ),
    Planted("runs hooks of others' ends", decision(crash_answered, _as_if_taken)),
    Planted("gives hooks all time", decision(step, _without(StartHooksTimeout))),
    Planted("retries bugs for ever", decision(classify_failure, _always(FailureKind.PASSING))),
    Planted("readopts for ever", public_name(takeover, "MAX_FAILURES", lambda _: 1_000_000)),
    Planted("waits with what it abandons", decision(step, _without(Abandon))),
)
"""Each is found within 500 seeds."""
