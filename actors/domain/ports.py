"""What the actors need from the outside, as Protocols. Adapters and fakes implement them.

Every method that waits is a coroutine and may be cancelled. Methods of :class:`Orchestrator`
raise only kinds of :class:`~actors.domain.errors.OrchestratorError`: ``Unavailable`` after their
own retries, ``NotFound``, ``Unauthorized``, ``Forbidden``, ``Conflict``, ``InvalidRequest``.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import datetime
from pathlib import Path
from typing import Protocol, TypeVar

from .ids import ClaimKey, DeploymentId, FlowId, FlowRunId
from .model import (
    Deployment,
    DueListing,
    Flow,
    FlowRun,
    Json,
    LogLine,
    Proposal,
    State,
    Verdict,
    WorkerEvent,
    WorkPool,
    WorkQueue,
)
from .process import KeptRun, MemorySample, ProcessFact, ProcessIdentity, SpawnOrder
from .record import RunRecord
from .server_events import ServerEvent

T = TypeVar("T")


class Cancellable(Protocol):
    """Something that can still be called off. Harmless when it has happened already."""

    def cancel(self) -> None: ...


class Clock(Protocol):
    """Time as a dependency. Seconds are floats. ``now()`` is timezone-aware in UTC."""

    def now(self) -> datetime: ...
    def monotonic(self) -> float: ...
    def call_later(self, delay: float, callback: Callable[[], None]) -> Cancellable: ...
    async def sleep(self, delay: float) -> None: ...


class Orchestrator(Protocol):
    """A Prefect server, one method per operation. NotFound when there is no such object."""

    async def read_work_pool(self, name: str) -> WorkPool: ...
    async def create_work_pool(
        self, name: str, type: str, base_job_template: Mapping[str, Json] | None
    ) -> WorkPool:
        """Conflict: it exists by now. Forbidden: a reserved name."""

    async def update_base_job_template(self, name: str, template: Mapping[str, Json]) -> None: ...
    async def read_work_queues(self, pool: str, names: Collection[str]) -> list[WorkQueue]:
        """The pool's queues, or those of them called ``names`` when there are any."""

    async def send_heartbeat(self, pool: str, worker: str, interval_seconds: int) -> None:
        """Tell the pool that ``worker`` is alive and will say so again within the interval."""

    async def read_due_runs(
        self, pool: str, queues: Collection[str], *, before: datetime, limit: int | None = None
    ) -> DueListing:
        """Scheduled runs due before ``before``, in the server's order of priority.

        At most ``limit`` (200 at most, and by default), and no more than the concurrency limits
        of the pool and its queues leave room for.
        """

    async def read_scheduled_runs(
        self, pool: str, queue: str, *, before: datetime
    ) -> list[FlowRun]:
        """Every run of the queue that may be claimed and is due before ``before``, earliest first.

        Pauses and concurrency limits are ignored: a poll has told how many may be claimed.
        """

    async def read_cancelling_runs(
        self, pool: str, queues: Collection[str], *, excluding: Collection[FlowRunId]
    ) -> list[FlowRun]:
        """Every run of the pool that is being cancelled, old states too, all pages."""

    async def read_flow_run(self, run_id: FlowRunId) -> FlowRun:
        """A flow run with its whole state."""

    async def missing_runs(self, run_ids: Collection[FlowRunId]) -> frozenset[FlowRunId]:
        """Which of these runs do not exist (any more)."""

    async def read_history(self, run_id: FlowRunId) -> list[State]:
        """The states that the run has had, oldest first; none for a run that does not exist."""

    async def read_deployment(self, deployment_id: DeploymentId) -> Deployment: ...
    async def read_flow(self, flow_id: FlowId) -> Flow: ...
    async def propose_state(self, run_id: FlowRunId, proposal: Proposal) -> Verdict:
        """Propose a state. Retries inside repeat the same transition id, so it counts once."""

    async def knows_submitting(self) -> bool:
        """Whether a run is Submitting between Pending and Running there: from 3.6.22 on."""

    async def set_infrastructure_pid(self, run_id: FlowRunId, infrastructure_pid: str) -> None:
        """Record where the run's process is."""

    async def add_labels(self, run_id: FlowRunId, labels: Mapping[str, str]) -> bool:
        """Merge labels into the run's; False where the server has no such route."""

    async def read_block_by_name(self, type_slug: str, name: str) -> Json:
        """The ``data`` of a block document, secrets in clear."""

    async def read_block_by_id(self, block_document_id: str) -> Json:
        """The ``data`` of a block document, secrets in clear."""

    async def read_variable(self, name: str) -> Json: ...
    async def send_logs(self, lines: Sequence[LogLine]) -> None: ...
    async def send_events(self, events: Sequence[WorkerEvent]) -> None: ...


class EventStream(Protocol):
    """The server's stream of events."""

    def subscribe(
        self, pool_id: str, queues: Collection[str]
    ) -> AbstractAsyncContextManager[AsyncIterator[ServerEvent]]:
        """The events of a pool from now on, of ``queues`` only where there are any.

        Entering it connects, within ten seconds. Nothing tells when the first event can come: emit
        one and wait for it. Each event comes once. Refused: there is no such stream, or not for
        this worker. Unavailable: there was no connection, or it has ended.
        """


FactListener = Callable[[ProcessFact], None]
"""Takes the facts about one run, on the loop, in order; must not block."""


class Launcher(Protocol):
    """The keeper, the parent of all runs."""

    async def spawn(self, order: SpawnOrder, listener: FactListener) -> ProcessIdentity:
        """Start a process and send its facts to ``listener``.

        At most one process is started per key: a repeated call returns the identity of the
        process that is, or was, there. CouldNotStart: the command, directory or environment is
        wrong. KeeperError: the keeper cannot be reached in time, and may have started it.
        StateFolderError: the disk takes no record of it; nothing was started.
        """

    async def watch(self, key: ClaimKey, listener: FactListener) -> KeptRun | None:
        """Send the facts of a run that is there already to ``listener``, past ones first.

        None when the keeper does not know the run.
        """

    async def end_tree(
        self, key: ClaimKey, *, signal: int, grace_seconds: float, announce_cancel: bool = False
    ) -> None:
        """Order the end of the run's whole tree: signal, grace period, SIGKILL.

        ``announce_cancel`` first tells an engine with a control channel that it is being
        cancelled. Returns when the keeper has the order; ProcessExited and TreeEnded follow.
        """

    async def forget(self, key: ClaimKey) -> None:
        """Drop a run that is over from the keeper's table."""

    async def table(self) -> list[KeptRun]: ...


class Threads(Protocol):
    """Threads for calls that block."""

    async def run(self, call: Callable[[], T]) -> T: ...


class Journal(Protocol):
    """What survives the worker: one folder per claim.

    A method returns when the disk has done its work, which a stuck disk never does. Writes are
    made in the order of the calls, also if the caller is cancelled, and reads see all writes
    before them. StateFolderError: a write failed (full disk, permissions).
    """

    async def check(self) -> None:
        """Write something, to find out whether a record can be written."""

    async def folder(self, key: ClaimKey) -> Path:
        """The claim's folder (0700), created when missing."""

    async def save(self, record: RunRecord) -> None:
        """Replace the claim's record atomically.

        What comes before a claim or a start is safe from a power cut afterwards.
        """

    async def close(self, record: RunRecord) -> None:
        """Save the record for the last time: the claim is settled, the folder may be pruned.

        What a claim without a reason has left is removed at once: the run was never ours.
        """

    async def record(self, key: ClaimKey) -> RunRecord | None:
        """The claim's record, of a settled one with phase OVER.

        None where there is none, or it is corrupt, or the claim was settled without a reason.
        """

    async def open_records(self) -> list[RunRecord]:
        """The records of claims that are not settled. Corrupt ones are quarantined, not raised."""

    async def output_tail(self, key: ClaimKey, lines: int) -> tuple[str, ...]:
        """The last ``lines`` lines of the run's output, decoded; empty where there is none."""

    async def prune(self, now: datetime, *, keep_seconds: float, keep_count: int) -> int:
        """Remove settled claims older than ``keep_seconds``, and keep at most ``keep_count``.

        Returns how many were removed. What cannot be removed stays until the next time.
        """


class ResourceMonitor(Protocol):
    """What runs and their machine use."""

    async def sample(self, runs: Mapping[ClaimKey, ProcessIdentity]) -> MemorySample:
        """Measure the machine and ``runs``, each by its own process, now and off the event loop.

        Called in a rhythm, for the detectors too.
        """

    def oom_detector(self, pid: int) -> Callable[[], bool]:
        """Tells whether the kernel has killed for lack of memory where a living process lives.

        What happened before the last samples does not count.
        """


class ServiceManager(Protocol):
    """The service manager that started the worker. Never blocks for long, never raises."""

    @property
    def watchdog_seconds(self) -> float | None:
        """How long the manager waits for a ``beat`` before it ends the worker; None: for ever."""

    def ready(self) -> None:
        """The worker is up (again, after ``reloading``). Harmless when repeated."""

    def reloading(self) -> None:
        """The worker is about to re-exec: a new one takes over in the same process."""

    def stopping(self) -> None: ...
    def extend(self, seconds: float) -> None:
        """Stopping takes longer: allow at least ``seconds`` from now."""

    def status(self, text: str) -> None:
        """Show people what the worker is doing, in one line."""

    def beat(self) -> None: ...
