"""The programmatic interface of Prefect 3.0's process worker, over the actor system.

For programs that drive that worker themselves: class attributes, constructor, methods, results and
errors are the same. New programs use ActorSystem.
"""

from __future__ import annotations

import asyncio
import builtins
import signal
from collections.abc import Callable, Mapping, Sequence
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol, Self

import psutil
import structlog

from ..domain.errors import InfrastructureNotAvailable, InfrastructureNotFound, KeeperError
from ..domain.exit_status import explain
from ..domain.ids import claim_key, new_transition_id
from ..domain.masking import Masker
from ..domain.model import FlowRun, InfrastructurePid, Json
from ..domain.process import OutputWritten, ProcessExited, ProcessFact, TreeEnded
from ..job.configuration import ProcessJobConfiguration, default_base_job_template
from ..job.job import Job, build_job
from ..job.template import Resolved
from ..runtime import LoopClock
from ..settings.settings import Settings
from .adapters import Adapters, open_adapters
from .system import ActorSystem

CHECK_SECONDS = 0.1  # between two looks whether a process that is being killed is gone

log = structlog.get_logger("actors.process_worker")


class TaskStatus(Protocol):
    """Is told of a start with ``host:pid``; anyio's TaskStatus fits."""

    def started(self, value: str) -> None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessWorkerResult:
    """How a process ended: true when it exited with code 0."""

    identifier: str
    """The process id."""
    status_code: int
    """As subprocess has it: negative for a signal. -1 when nobody received it."""

    def __bool__(self) -> bool:
        return self.status_code == 0


class ProcessWorker:
    """A worker for one work pool.

    ``work_pool_name``: the pool to poll. ``work_queues``: default all of them. ``name``: default
    made from pool and host, stable over restarts; must not contain '/' or '%'.
    ``prefetch_seconds``: how early runs are taken, default 10. ``create_pool_if_not_found``:
    default True. ``limit``: runs at a time, default no limit. ``heartbeat_interval_seconds``:
    default 30. ``base_job_template``: for a pool that has to be created. ``settings``: any other
    field of :class:`~actors.Settings`.

    SettingsError: a wrong value. Runs that :meth:`run` starts end with the ``async with`` block;
    those of :meth:`start` are the keeper's and outlive it.
    """

    type: ClassVar[str] = "process"
    job_configuration: ClassVar[builtins.type[ProcessJobConfiguration]] = ProcessJobConfiguration
    job_configuration_variables = job_configuration

    def __init__(
        self,
        work_pool_name: str,
        work_queues: Sequence[str] | None = None,
        name: str | None = None,
        prefetch_seconds: float | None = None,
        create_pool_if_not_found: bool = True,
        limit: int | None = None,
        heartbeat_interval_seconds: float | None = None,
        *,
        base_job_template: Mapping[str, Json] | None = None,
        **settings: Any,
    ) -> None:
        given = {
            "pool": work_pool_name,
            "work_queues": tuple(work_queues or ()),
            "name": name,
            "prefetch_seconds": prefetch_seconds,
            "create_pool_if_not_found": create_pool_if_not_found,
            "limit": limit,
            "heartbeat_seconds": heartbeat_interval_seconds,
            "base_job_template": base_job_template,
            **settings,
        }
        self._values = {key: value for key, value in given.items() if value is not None}
        self._settings(embedded=True)  # a wrong value is an error here
        self._adapters: Adapters | None = None
        self._opened = AsyncExitStack()

    @classmethod
    def get_description(cls) -> str:
        return (
            "Runs each flow run as a process of its own on the worker's machine, watches over it "
            "and reports how it ended."
        )

    @classmethod
    def get_display_name(cls) -> str:
        return "Process"

    @classmethod
    def get_documentation_url(cls) -> str:
        return "https://docs.prefect.io/v3/concepts/work-pools"

    @classmethod
    def get_logo_url(cls) -> str:
        return (
            "https://cdn.sanity.io/images/3ugk85nk/production/"
            "356e6766a91baf20e1d08bbe16e8b5aaef4d8643-48x48.png"
        )

    @classmethod
    def get_default_base_job_template(cls) -> dict[str, Json]:
        return default_base_job_template()

    async def start(
        self,
        run_once: bool = False,
        with_healthcheck: bool = False,
        printer: Callable[..., object] = print,
    ) -> None:
        """Work until stopped (by cancelling this call), or for a single round with ``run_once``.

        ``with_healthcheck`` serves /health and /ready meanwhile. ``printer`` is told when the
        worker has started, with a pool that fits, and then when it has stopped. WorkerError: it
        had to give up.
        """
        settings = self._settings(run_once=run_once, with_healthcheck=with_healthcheck)
        system = ActorSystem(
            settings, announce=lambda what: printer(f"Worker {system.name!r} {what}!")
        )
        async with system:
            self._adapters = system.adapters
            try:
                await system.wait()
            finally:
                self._adapters = None

    async def __aenter__(self) -> Self:
        settings = self._settings(embedded=True)
        async with AsyncExitStack() as opened:
            self._adapters = await open_adapters(settings, opened, clock=LoopClock())
            self._opened = opened.pop_all()
        return self

    async def __aexit__(self, *_: object) -> None:
        self._adapters = None
        await self._opened.aclose()

    async def run(
        self,
        flow_run: FlowRun,
        configuration: ProcessJobConfiguration,
        task_status: TaskStatus | None = None,
    ) -> ProcessWorkerResult:
        """Run a flow run's process to its end, within ``async with``; no state is proposed.

        The end of the block ends the command, too. InvalidJob: the configuration cannot be carried
        out. CouldNotStart: nor can the command. KeeperError: another process has taken the keeper
        over, which goes on with the command; or the keeper has not ended with the block.
        """
        adapters = self._open()
        job = build_job(
            Resolved(configuration.model_dump(mode="json")),
            run=flow_run,
            flow=None,
            engine_python=adapters.job_preparer.engine_python,
        )
        watch = _Watch(job, Masker(job.secrets | adapters.secrets()))
        key = claim_key(flow_run.id, new_transition_id())
        order = await adapters.job_preparer.order(key, flow_run, job)
        identity = await adapters.ports.launcher.spawn(order, watch.hear)
        if task_status is not None:
            task_status.started(f"{adapters.plan.hostname}:{identity.pid}")
        assert adapters.keeper is not None  # no other launcher was passed in
        code = await adapters.keeper.or_failure(watch.exited)
        explanation = explain(code)
        log.log(explanation.level, "process.exited", pid=identity.pid, text=explanation.text)
        await adapters.keeper.or_failure(watch.gone)
        with suppress(KeeperError):  # the keeper has ended with the block
            await adapters.ports.launcher.forget(key)
        status_code = -1 if code is None else code
        return ProcessWorkerResult(identifier=str(identity.pid), status_code=status_code)

    async def kill_process(self, infrastructure_pid: str, grace_seconds: float = 30) -> None:
        """End a process of this worker's, and all it started; return when nothing is left.

        Within ``grace_seconds`` it may end by itself after SIGTERM. InfrastructureNotFound: no
        such process. InfrastructureNotAvailable: it is on another host, or it is not ours.
        Prefect's worker would signal it, but a pid alone does not prove whose process it is.
        """
        adapters = self._open()
        where = InfrastructurePid.parse(infrastructure_pid)
        if where is None:
            raise InfrastructureNotFound(f"{infrastructure_pid!r} names no process.")
        if where.host not in (None, adapters.plan.hostname):
            raise InfrastructureNotAvailable(
                f"Process {where.pid} runs on host {where.host!r}: end it there."
            )
        launcher = adapters.ports.launcher
        alive = [kept for kept in await launcher.table() if kept.exit is None]
        key = next((kept.key for kept in alive if kept.identity.pid == where.pid), None)
        if key is None:
            if psutil.pid_exists(where.pid):
                raise InfrastructureNotAvailable(
                    f"Process {where.pid} was not started by this worker, so it is left alone."
                )
            raise InfrastructureNotFound(f"There is no process {where.pid}.")
        await launcher.end_tree(key, signal=signal.SIGTERM, grace_seconds=grace_seconds)
        # its facts go to the caller of run(), so this one has to look
        while any(  # noqa: ASYNC110
            kept.key == key and not kept.tree_ended for kept in await launcher.table()
        ):
            await asyncio.sleep(CHECK_SECONDS)

    def _settings(self, **more: bool) -> Settings:
        return Settings(**self._values | more)

    def _open(self) -> Adapters:
        if self._adapters is None:
            raise RuntimeError("The worker is not set up: use it within `async with`.")
        return self._adapters


class _Watch:
    """Follows one process: ``exited`` is its exit code, ``gone`` the end of its tree."""

    def __init__(self, job: Job, masker: Masker) -> None:
        loop = asyncio.get_running_loop()
        self._job = job
        self._masker = masker
        self.exited: asyncio.Future[int | None] = loop.create_future()
        self.gone: asyncio.Future[None] = loop.create_future()

    def hear(self, fact: ProcessFact) -> None:
        match fact:
            case OutputWritten(lines=lines) if self._job.configuration.stream_output:
                for line in lines:
                    log.info("run.output", line=self._masker.text(line))
            case ProcessExited(status=status) if not self.exited.done():
                self.exited.set_result(status.code)
            case TreeEnded() if not self.gone.done():
                self.gone.set_result(None)
