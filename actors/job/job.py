"""A job: one flow run's command, environment and limits, ready to be started."""

from __future__ import annotations

import re
import shlex
from dataclasses import asdict, dataclass, field
from typing import Final

from pydantic import ValidationError

from ..domain.errors import InvalidJob
from ..domain.masking import Masker, secrets_in_environment
from ..domain.model import Flow, FlowRun, Json, Resource
from ..domain.plain_text import plain
from ..domain.process import SpawnOrder
from ..domain.record import JobSummary
from .configuration import ProcessJobConfiguration
from .environment import can_be_passed
from .template import Resolved, fill

DEFAULT_COMMAND: Final = "python -m prefect.engine"
"""How a template spells out the default: Prefect's own worker replaces the interpreter, too."""

ENGINE_MODULE: Final = "prefect.engine"
ENGINE: Final = re.compile(r"-m ?prefect\.engine\b")
RUNNER_COMMAND: Final = "prefect flow-run execute"


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """What to start for a flow run. Its representation leaves out what may hold secrets."""

    argv: tuple[str, ...] = field(repr=False)
    name: str | None = field(repr=False)
    """None: the flow run's name."""
    configuration: ProcessJobConfiguration = field(repr=False)
    secrets: frozenset[str] = field(repr=False)
    """Values to mask in this run's messages and output."""

    def summary(self, masker: Masker) -> JobSummary:
        """The part that the journal keeps, masked by ``masker``."""
        directory = self.configuration.working_dir
        return JobSummary(
            command=masker.command(self.argv),
            name=None if self.name is None else masker.text(self.name),
            working_dir=None if directory is None else masker.text(str(directory)),
            stream_output=self.configuration.stream_output,
            is_engine=is_engine(self.argv),
            uses_runner=uses_runner(self.argv),
            report_states=self.configuration.report_states,
            limits=self.configuration.limits,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class PreparedJob:
    """The order for the keeper, and what to remember of the job."""

    order: SpawnOrder
    summary: JobSummary
    related: tuple[Resource, ...]
    """Related resources of the run's events."""
    remarks: tuple[tuple[int, str], ...] = ()
    """Lines for the run's log, with their levels."""
    masker: Masker = field(default_factory=Masker)


def build_job(
    resolved: Resolved,
    *,
    run: FlowRun,
    flow: Flow | None,
    engine_python: str,
) -> Job:
    """The job of ``run``.

    ``engine_python`` is the interpreter that has Prefect and runs its engine. Raises InvalidJob;
    the message names the wrong variable and shows no secrets.
    """
    configuration = _validated(resolved)
    return Job(
        argv=split_command(configuration.command, engine_python),
        name=_name(configuration.name, run, flow),
        configuration=configuration,
        secrets=resolved.secrets | secrets_in_environment(configuration.env),
    )


def _validated(resolved: Resolved) -> ProcessJobConfiguration:
    try:
        return ProcessJobConfiguration.model_validate(resolved.configuration)
    except ValidationError as error:
        faults = "; ".join(
            f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}"
            for fault in error.errors(include_url=False, include_input=False)
        )
    raise InvalidJob(
        f"Wrong job variable: {Masker(resolved.secrets).text(faults)}. "
        "Correct it in the deployment, the flow run or the work pool."
    )


def needs_engine(command: Json) -> bool:
    """Whether no other command than Prefect's engine is configured."""
    return not isinstance(command, str) or command.strip() in ("", DEFAULT_COMMAND)


def split_command(command: str | None, engine_python: str) -> tuple[str, ...]:
    """The arguments of ``command``, split as a POSIX shell does; None means Prefect's engine.

    There is no shell: no variables, wildcards or pipes. Raises InvalidJob.
    """
    if command is None or needs_engine(command):
        return (engine_python, "-m", ENGINE_MODULE)
    try:
        argv = tuple(shlex.split(command))
    except ValueError as error:
        raise InvalidJob(
            f"Job variable 'command' cannot be split into arguments: {error}. "
            "Close every quote, and do not end with a backslash."
        ) from None
    if not argv[0]:
        raise InvalidJob("Job variable 'command' begins with an empty argument, not a program.")
    if not can_be_passed(command):
        raise InvalidJob("Job variable 'command' holds a NUL character or broken Unicode.")
    return argv


def is_engine(argv: tuple[str, ...]) -> bool:
    """Whether a command runs ``python -m prefect.engine``, directly or through another program."""
    return ENGINE.search(_as_text(argv)) is not None


def uses_runner(argv: tuple[str, ...]) -> bool:
    """Whether a command runs ``prefect flow-run execute``."""
    return RUNNER_COMMAND in _as_text(argv)


def _as_text(argv: tuple[str, ...]) -> str:
    return " ".join(" ".join(argv).split())


def _name(template: str | None, run: FlowRun, flow: Flow | None) -> str | None:
    """The job's name, with ``{{ ctx.flow.* }}`` and ``{{ ctx.flow_run.* }}`` as in Prefect 3.8."""
    context = {"flow": asdict(flow) if flow else {}, "flow_run": _run_context(run)}
    named = fill({"name": template}, {"ctx": context}, {}).get("name")
    return " ".join(plain(str(named or "")).split()) or None


def _run_context(run: FlowRun) -> dict[str, Json]:
    """The run under the names that the server's API uses."""
    due = None if run.due is None else run.due.isoformat()
    own = asdict(run)
    others = own.pop("others")
    return {
        **others,
        **own,
        "state_type": run.state.type.value,
        "state_name": run.state.name,
        "next_scheduled_start_time": due,
        "expected_start_time": due,
    }
