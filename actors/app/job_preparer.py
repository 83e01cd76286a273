"""From a claimed run to a job that the keeper can start: reading, templating, environment."""

from __future__ import annotations

import asyncio
import shutil
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import assert_never

from ..domain.errors import InvalidJob, NotFound
from ..domain.ids import ClaimKey, FlowId
from ..domain.masking import Masker, secrets_in_environment
from ..domain.model import Deployment, Flow, FlowRun, Json, WorkPool
from ..domain.ports import Orchestrator
from ..domain.process import SpawnOrder
from ..domain.record import JobSummary, RunRecord
from ..domain.worker_events import run_related
from ..job import job as jobs
from ..job.engine import engine_start
from ..job.environment import run_environment
from ..job.job import Job, PreparedJob, build_job, is_engine, needs_engine
from ..job.template import (
    BlockIdRef,
    BlockRef,
    Populated,
    Reference,
    Resolved,
    VariableRef,
    populate,
    references,
    resolve,
)

FLOWS_REMEMBERED = 1_000

FLOW_SECONDS = 60.0
"""How long a flow is remembered: its tags, which are in events, may change."""


async def _no_settings() -> Mapping[str, str]:
    return {}


@dataclass(kw_only=True)
class JobPreparer:
    """Prepares the jobs of one worker.

    ``engine_python`` is the interpreter that has Prefect of ``engine_version``, ``base_env`` the
    worker's own environment. ``prefect_env`` returns the Prefect settings for a run that starts
    now, ``secrets`` what to mask besides the variables that are named like secrets.
    """

    orchestrator: Orchestrator
    folder: Callable[[ClaimKey], Awaitable[Path]]
    worker: str
    engine_python: str
    engine_version: str = "3"
    base_env: Mapping[str, str]
    prefect_env: Callable[[], Awaitable[Mapping[str, str]]] = _no_settings
    secrets: Callable[[], frozenset[str]] = frozenset
    end_leftovers: bool = True
    hooks_seconds: float | None = None
    """How long hooks may take that the engine could not run; None: nobody runs them."""
    monotonic: Callable[[], float] = time.monotonic
    _flows: dict[FlowId, tuple[Flow, float]] = field(default_factory=dict)

    async def prepare_job(self, record: RunRecord, pool: WorkPool) -> PreparedJob:
        """Read what a job depends on and put it together.

        InvalidJob: the configuration is wrong. NotFound: the deployment or flow does not exist.
        Unavailable: ask again later.
        """
        run = record.run
        deployment, flow = await asyncio.gather(self._deployment(run), self._flow(run))
        resolved = await self._resolve(run, deployment, pool)
        job = build_job(resolved, run=run, flow=flow, engine_python=self.engine_python)
        order = await self.order(record.key, run, job, deployment=deployment, flow=flow)
        start = None
        if needs_engine(job.configuration.command):
            start = engine_start(
                job.argv,
                order.env,
                deployment=deployment,
                working_dir=order.working_dir,
                prefect_version=self.engine_version,
                has_uv=shutil.which("uv", path=order.env.get("PATH")) is not None,
            )
            job = replace(job, argv=start.argv)
            order = replace(
                order, argv=start.argv, env=start.env, on_python_path=start.on_python_path
            )
        masker = Masker(
            job.secrets
            | self.secrets()
            | secrets_in_environment(self.base_env)
            | secrets_in_environment(order.env)
        )
        return PreparedJob(
            order=order,
            summary=self._summary(job, masker),
            related=run_related(run=run, deployment=deployment, flow=flow, pool=pool),
            remarks=() if start is None else start.remarks,
            masker=masker,
        )

    def _summary(self, job: Job, masker: Masker) -> JobSummary:
        summary = job.summary(masker)
        hooks_seconds = self.hooks_seconds if summary.is_engine else None
        return replace(summary, hooks_seconds=hooks_seconds)

    async def order(
        self,
        key: ClaimKey,
        run: FlowRun,
        job: Job,
        *,
        deployment: Deployment | None = None,
        flow: Flow | None = None,
    ) -> SpawnOrder:
        """The order that starts ``job`` for ``run``."""
        return SpawnOrder(
            key=key,
            folder=await self.folder(key),
            argv=job.argv,
            env=run_environment(
                base=self.base_env,
                prefect_settings=await self.prefect_env(),
                run=run,
                deployment=deployment,
                flow=flow,
                worker_name=self.worker,
                job_env=job.configuration.env,
            ),
            working_dir=job.configuration.working_dir,
            control_channel=is_engine(job.argv),
            nice=job.configuration.nice,
            end_leftovers=self.end_leftovers,
        )

    async def _deployment(self, run: FlowRun) -> Deployment | None:
        if run.deployment_id is None:
            return None
        with _must_exist("deployment"):
            return await self.orchestrator.read_deployment(run.deployment_id)

    async def _flow(self, run: FlowRun) -> Flow:
        """Many runs share few flows, so each flow is read once in a while."""
        known, read_at = self._flows.get(run.flow_id, (None, 0.0))
        if known is not None and self.monotonic() - read_at < FLOW_SECONDS:
            return known
        with _must_exist("flow"):
            flow = await self.orchestrator.read_flow(run.flow_id)
        if len(self._flows) >= FLOWS_REMEMBERED:
            self._flows.clear()
        self._flows[run.flow_id] = flow, self.monotonic()
        return flow

    async def _resolve(
        self, run: FlowRun, deployment: Deployment | None, pool: WorkPool
    ) -> Resolved:
        variables: Mapping[str, Json] = {} if deployment is None else deployment.job_variables
        populated = populate(
            pool.base_job_template, variables, run.job_variables, environ=self.base_env
        )
        return resolve(populated, await fetch_values(self.orchestrator, populated))


@contextmanager
def _must_exist(what: str) -> Iterator[None]:
    try:
        yield
    except NotFound as error:
        raise NotFound(
            f"The {what} of this flow run no longer exists, so it cannot be run. "
            "Deploy the flow again.",
            status=error.status,
        ) from None


def uses_runner(run: FlowRun, deployment: Deployment | None, pool: WorkPool | None) -> bool:
    """Whether a run's command cancels by itself, as far as can be told without its blocks."""
    template = {} if pool is None else pool.base_job_template
    variables: Mapping[str, Json] = {} if deployment is None else deployment.job_variables
    try:
        populated = populate(template, variables, run.job_variables, environ={})
    except InvalidJob:
        return False
    command = populated.get("command")
    return isinstance(command, str) and jobs.uses_runner((command,))


async def fetch_values(orchestrator: Orchestrator, populated: Populated) -> dict[Reference, Json]:
    """The blocks and variables that ``populated`` and its blocks refer to, each fetched once.

    What the server does not have is absent; other kinds of OrchestratorError pass through.
    """
    values: dict[Reference, Json] = {}
    asked: set[Reference] = set()

    async def read(reference: Reference) -> None:
        with suppress(NotFound):  # the template decides whether that matters
            values[reference] = await _read(orchestrator, reference)

    while missing := references(populated, values) - asked:
        asked |= missing
        try:
            async with asyncio.TaskGroup() as group:
                for reference in missing:
                    group.create_task(read(reference))
        except ExceptionGroup as failures:
            raise failures.exceptions[0] from None
    return values


async def _read(orchestrator: Orchestrator, reference: Reference) -> Json:
    match reference:
        case BlockRef(type_slug, name):
            return await orchestrator.read_block_by_name(type_slug, name)
        case BlockIdRef(id):
            return await orchestrator.read_block_by_id(id)
        case VariableRef(name):
            return await orchestrator.read_variable(name)
        case _:
            assert_never(reference)
