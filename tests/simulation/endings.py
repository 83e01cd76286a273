"""What must be true of the ends of runs: who may be ended, when, and what is said of it.

Judged against what really happened (``truth.py``), not against what the worker believes.
"""

from __future__ import annotations

import re

from actors.domain.ids import ClaimKey, FlowRunId, TransitionId, claim_key, claim_of_hooks
from actors.domain.model import StateType
from actors.domain.record import MEBIBYTE, Limits, Phase, Reason, RunRecord
from actors.process_supervisor.machine.proposals import is_pending_by
from actors.testing.processes import ScriptedProcess
from tests.support.builders import flow_run_id_of

from .invariants import SLACK_SECONDS, has_lost_hold
from .server import Write, claim_before
from .simulation import Simulation
from .truth import WISHED

SAMPLE_SLACK_SECONDS = 2.5
DELETION_SECONDS = 40.0
"""Between two looks for deleted runs, at the longest."""
MOMENT = 1e-6

_SAID_ZERO = re.compile("cleanly|exited with code 0")


# -- when a record is saved ----------------------------------------------------------------------


def the_reason_is_the_true_one(sim: Simulation, record: RunRecord) -> str | None:
    """The closed list: a reason is given for what really happened, and kept."""
    before = sim.truth.saved.get(record.key)
    known = None if before is None else before.reason
    if record.reason is known:
        return None
    if is_forgotten(sim, record.key) and record.reason is sim.truth.on_disk.get(record.key):
        return None  # true when it was saved; a full disk did not take what followed
    changes = known is not None and record.reason not in (None, Reason.CANCELLED)
    if changes and not is_forgotten(sim, record.key):
        return f"{record.key} ended because it {known}, and then because it {record.reason}"
    if record.reason is None or _is_true(sim, record, record.reason):
        return None
    return f"{record.key} is said to have ended because: {record.reason}"


def the_end_is_told_by_its_reason(sim: Simulation, record: RunRecord) -> str | None:
    """What is cancelled in hand is reported Cancelled, what the worker ended Crashed."""
    report = record.report
    if report is None or record.phase is not Phase.REPORTING or record.reason not in WISHED:
        return None
    right = {StateType.CANCELLED}
    if record.reason is not Reason.CANCELLED:
        right.add(StateType.CRASHED)
    if report.type in right:
        return None
    return f"{record.key} ended because: {record.reason}, and is reported {report.name}"


def what_is_ours_has_a_reason_in_the_end(sim: Simulation, record: RunRecord) -> str | None:
    """A run that is settled without a reason was never ours."""
    run = sim.server.runs.get(record.run.id)
    if record.phase is not Phase.OVER or record.reason is not None or run is None:
        return None
    if record.key in sim.truth.processes:
        return f"{record.key} had a process, and is settled without a reason"
    ours = run.state.transition_id and is_pending_by(record.claim, run.state)
    if ours and not sim.truth.late.get(record.run.id):
        return f"{record.key} is Pending by our claim, and is settled without a reason"
    return None


def _is_true(sim: Simulation, record: RunRecord, reason: Reason) -> bool:
    """Whether ``reason`` is what has happened to the run, or is about to be done to it."""
    truth, limits = sim.truth, sim.truth.limits_of(record.key)
    process = truth.processes.get(record.key)
    if reason is Reason.CANCELLED:
        return record.run.id in truth.cancelled
    if reason is Reason.DELETED:
        return record.run.id in truth.deleted_at
    if reason is Reason.WORKER_STOPPED:
        return sim.life.ends_runs
    if reason is Reason.COULD_NOT_START:
        return process is None
    if reason is Reason.WORKER_FAILED:
        return has_lost_hold(sim, record.key)
    if process is None:
        return False
    match reason:
        case Reason.TIMED_OUT:
            lasted = sim.clock.monotonic() - process.started_at
            return limits.timeout_seconds is not None and (
                lasted >= limits.timeout_seconds - MOMENT
            )
        case Reason.OUT_OF_MEMORY_LIMIT:
            return _is_too_big(sim, process, limits)
        case _:
            return _ended_by_itself(sim, process, reason)


def _ended_by_itself(sim: Simulation, process: ScriptedProcess, reason: Reason) -> bool:
    if process.exit is None:
        return False
    ended_by_us = bool(process.end_orders) and not is_forgotten(sim, process.key)
    code = process.exit.code if process.exit.reported is None else 0
    match reason:
        case Reason.MACHINE_RESTARTED:
            return process.rebooted
        case Reason.LOST:
            return code is None and not process.rebooted
        case Reason.OUT_OF_MEMORY_KERNEL:
            return process.key in sim.truth.kernel_kills
        case Reason.EXITED:
            return code == 0 and not ended_by_us
        case Reason.FAILED:
            return code not in (0, None) and not ended_by_us and not _was_seen(sim, process)
        case _:
            return False


def _was_seen(sim: Simulation, process: ScriptedProcess) -> bool:
    """Whether the kernel killed it under the eyes of one and the same supervisor."""
    killed = process.key in sim.truth.kernel_kills and sim.plan.measures
    return killed and sim.truth.disturbed_at < process.started_at - 1.0


def _is_too_big(sim: Simulation, process: ScriptedProcess, limits: Limits) -> bool:
    limit = limits.memory_limit_mb
    return limit is not None and sim.truth.peaks.get(process.key, 0) > limit * MEBIBYTE


# -- when the keeper is told to end a run --------------------------------------------------------


def only_what_must_end_is_ended(
    sim: Simulation, key: ClaimKey, signal: int, grace_seconds: float
) -> str | None:
    """Invariant 8: there is a reason, true when it was noted, and noted before the signal."""
    del signal, grace_seconds
    record = sim.truth.saved.get(key)
    if record is not None and (record.reason in WISHED or record.cancelling is not None):
        return None
    if sim.truth.is_overdue(key, sim.clock.monotonic()):
        return None
    if has_lost_hold(sim, key):
        return None  # its record may be old; the order is given without a look
    return f"{key} was ended for no reason"


def it_is_ended_as_its_job_says(
    sim: Simulation, key: ClaimKey, signal: int, grace_seconds: float
) -> str | None:
    """The job's signal, and SIGKILL not before, nor after, its grace period."""
    limits = sim.truth.limits_of(key)
    right = {(limits.kill_signal, limits.grace_seconds)}
    if is_forgotten(sim, key) or has_lost_hold(sim, key):  # its job may be
        right.add((Limits().kill_signal, Limits().grace_seconds))
    if (signal, grace_seconds) in right:
        return None
    return f"{key} is ended by {signal} with {grace_seconds} s of grace, not as {right}"


# -- at rest -------------------------------------------------------------------------------------


def what_must_end_is_ended(sim: Simulation) -> str | None:
    """A run is ended soon after it has passed a limit, or the worker has decided so.

    Trouble in the simulation is waited for.
    """
    now, truth = sim.clock.monotonic(), sim.truth
    if not sim.is_undisturbed(SLACK_SECONDS):
        return None
    for process in sim.keeper.alive():
        if process.end_orders or is_forgotten(sim, process.key):
            continue
        if claim_of_hooks(process.key) is not None:
            continue
        if has_lost_hold(sim, process.key):
            continue
        record = truth.saved.get(process.key)
        decided = truth.decided_at.get(process.key, now)
        if record is not None and record.reason in WISHED and now > decided + SLACK_SECONDS:
            return f"{process.key} is to be ended, because: {record.reason}, and nobody does"
        deleted_at = truth.deleted_at.get(flow_run_id_of(process.key), now)
        if now > max(deleted_at, process.started_at) + DELETION_SECONDS + SLACK_SECONDS:
            return f"{process.key} goes on, and its run was deleted at {deleted_at}"
        limits = truth.limits_of(process.key)
        if limits.timeout_seconds is not None:
            began = max(process.started_at, _recorded_start(sim, process))
            if now > began + limits.timeout_seconds + SAMPLE_SLACK_SECONDS:
                return f"{process.key} lasts for longer than {limits.timeout_seconds} s"
        sampled = now > process.started_at + 2 * SAMPLE_SLACK_SECONDS
        if sampled and sim.plan.measures and _is_too_big(sim, process, limits):
            return f"{process.key} holds more than {limits.memory_limit_mb} MB"
    return None


def _recorded_start(sim: Simulation, process: ScriptedProcess) -> float:
    """A successor that finds a process nobody had noted yet counts from then on."""
    record = sim.truth.saved.get(process.key)
    if record is None or record.started_at is None:
        return sim.clock.monotonic()
    passed: float = (sim.clock.now() - record.started_at).total_seconds()
    return sim.clock.monotonic() - passed


# -- at each write -------------------------------------------------------------------------------


def exits_are_told_as_they_were(sim: Simulation, write: Write) -> str | None:
    """Invariant 5: a code is not guessed, and a known one not called lost."""
    if write.author != "worker" or write.after.type is not StateType.CRASHED or write.late:
        return None
    process = last_process(sim, write.run_id)
    if process is None or _is_put_back(sim, write) or is_of_later_claim(sim, write, process):
        return None
    message = write.after.message or ""
    if has_lost_hold(sim, process.key):
        return None
    if process.exit is None:
        return f"{process.key} was called crashed alive"
    known = process.exit.code is not None
    if known and not write.before.type.is_terminal and "nobody was there to receive" in message:
        return f"{process.key} exited with {process.exit.code}, which was called lost"
    if process.exit.code == 0 and not process.signals and not _SAID_ZERO.search(message):
        return f"{process.key} exited with 0 and was called crashed: {message}"
    return None


def nothing_is_put_over_a_receipt(sim: Simulation, write: Write) -> str | None:
    """What an engine has reported counts, unless the server wants the run cancelled."""
    if write.author != "worker" or write.late or write.before.type is StateType.CANCELLING:
        return None
    process = last_process(sim, write.run_id)
    exit_ = None if process is None else process.exit
    if process is None or exit_ is None or exit_.reported is None:
        return None
    if _is_put_back(sim, write) or is_of_later_claim(sim, write, process):
        return None
    if write.after.type not in (StateType.CRASHED, StateType.CANCELLED):
        return None
    return f"{process.key} had reported {exit_.reported}, and was called {write.after.name}"


def is_of_later_claim(sim: Simulation, write: Write, process: ScriptedProcess) -> bool:
    """Whether the run was claimed again since, and has no process of that claim yet."""
    claim = claim_before(sim.server.runs[write.run_id].history, write.before)
    is_claimed = write.before.type is StateType.PENDING
    return is_claimed and claim_key(write.run_id, claim) != process.key


def _is_put_back(sim: Simulation, write: Write) -> bool:
    """Whether the worker returns what another one's end was, over its own late claim."""
    claim = TransitionId(write.before.transition_id or "")
    return claim_key(write.run_id, claim) in sim.truth.revived


# -- common --------------------------------------------------------------------------------------


def is_forgotten(sim: Simulation, key: ClaimKey) -> bool:
    """Whether a supervisor may know no more of it than the keeper does."""
    return key in sim.truth.forgotten or key in sim.strays


def last_process(sim: Simulation, run_id: FlowRunId) -> ScriptedProcess | None:
    mine = [p for p in sim.processes if flow_run_id_of(p.key) == run_id]
    return mine[-1] if mine else None
