"""Every setting of a worker, once: its type, default and meaning, and how a person gives it.

The options of ``actor-worker start``, the ``ACTOR_WORKER_*`` variables, the keys of the settings
file, the reference table of the README and ``config/actor-worker.toml`` follow from this model.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    field_validator,
)

from ..domain.model import Json
from ..domain.policy import OnDeadline
from .base_job_template import read_base_job_template
from .option import Option, Section, Setting, as_field, settings_of


def _split(value: Any) -> Any:
    """Names from a text such as ``high, low``."""
    if isinstance(value, str):
        return tuple(name.strip() for name in value.split(",") if name.strip())
    return value


LogLevel = Annotated[
    Literal["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"],
    BeforeValidator(lambda value: value.upper() if isinstance(value, str) else value),
]

_taking = as_field(partial(Option, Section.TAKING))
_running = as_field(partial(Option, Section.RUNNING))
_stopping = as_field(partial(Option, Section.STOPPING))
_showing = as_field(partial(Option, Section.SHOWING))


class WorkerSettings(BaseModel):
    """What one worker is to do. Times are in seconds unless the name says otherwise."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    pool: Annotated[str, Field(min_length=1)] = _taking(
        ..., "The work pool to take runs from.", metavar="NAME", short="-p", example="my-pool"
    )
    work_queues: Annotated[tuple[str, ...], BeforeValidator(_split)] = _taking(
        (),
        "Take runs of these queues only.",
        unset="all queues",
        metavar="NAME",
        short="-q",
        name="work-queue",
    )
    limit: PositiveInt | None = _taking(
        None, "Runs at a time.", unset="no limit", metavar="N", short="-l", example=10
    )
    memory_pause_percent: Annotated[float, Field(gt=0, le=100)] = _taking(
        95.0,
        "Take no runs while the machine, or its container, uses this many percent of its memory.",
        metavar="P",
    )
    prefetch_seconds: NonNegativeFloat = _taking(
        10.0,
        "Take a run this many seconds before its time.",
        metavar="S",
        prefect="worker_prefetch_seconds",
    )
    query_seconds: PositiveFloat = _taking(
        10.0,
        "Seconds between two polls for due runs.",
        metavar="S",
        prefect="worker_query_seconds",
    )
    event_stream: bool = _taking(
        True,
        "Listen to the server's events, to poll as soon as a run is due and to cancel at once.",
    )
    run_once: bool = _taking(
        False, "Poll once, look for runs to cancel once, wait for the runs, and stop."
    )
    create_pool_if_not_found: bool = _taking(
        True, "Create the work pool when the server has none of this name."
    )
    base_job_template: Annotated[
        dict[str, Json] | None, BeforeValidator(read_base_job_template)
    ] = _taking(
        None,
        "A JSON file with the base job template for a pool that is created.",
        metavar="FILE",
        example="template.json",
    )
    python: str | None = _running(
        None,
        "The Python that has Prefect and runs the flows: a path, or a name on PATH.",
        unset="found beside the worker or on PATH",
        metavar="PATH",
        example="/srv/flows/.venv/bin/python",
    )
    name: str | None = _running(
        None,
        "The worker's name.",
        unset="the host's, numbered when it is taken",
        metavar="NAME",
        short="-n",
        example="my-worker",
    )
    type: Literal["process"] | None = _running(
        None,
        "The worker's type; 'process' is the only one.",
        metavar="TYPE",
        short="-t",
        example="process",
    )
    heartbeat_seconds: Annotated[float, Field(ge=1)] = _running(
        30.0,
        "Seconds between two heartbeats to the server.",
        metavar="S",
        prefect="worker_heartbeat_seconds",
    )
    submitting_state: bool = _running(
        True,
        "Have a run be Submitting before its process starts, as Prefect's worker does, with"
        " servers from 3.6.22 on.",
    )
    end_leftovers: bool = _running(True, "End processes that a run leaves behind when it is over.")
    hooks: bool = _running(
        True, "Run a flow's on_crashed and on_cancellation hooks when its engine could not."
    )
    hooks_seconds: PositiveFloat = _running(
        60.0, "Such hooks may take this many seconds; the run keeps its slot.", metavar="S"
    )
    embedded: bool = _running(
        False,
        "End the keeper and its runs with the worker: for tests, libraries, and containers of"
        " one purpose.",
        hidden=True,
    )
    drain_seconds: NonNegativeFloat | None = _stopping(
        None,
        "When asked to stop, wait this many seconds for the runs.",
        unset="as long as they take",
        metavar="S",
        example=600.0,
    )
    on_deadline: OnDeadline = _stopping(
        OnDeadline.TERMINATE,
        "What becomes of runs that are there after that: terminate ends them and reports them"
        " as crashed; leave leaves them to the next worker and gives back what has not"
        " started.",
    )
    state_dir: Path | None = _stopping(
        None,
        "Where runs are recorded.",
        unset="follows from server, pool and host",
        metavar="FOLDER",
        example="/var/lib/actor-worker",
    )
    keep_runs: NonNegativeInt = _stopping(
        1000, "Keep the records of this many runs that are over.", metavar="N"
    )
    keep_runs_days: NonNegativeFloat = _stopping(7.0, "Keep them for this many days.", metavar="D")
    log_format: Literal["console", "json"] | None = _showing(
        None,
        "How log lines look: pretty, or as JSON objects.",
        unset="console on a terminal, else json",
        example="json",
    )
    log_level: LogLevel = _showing(
        "INFO",
        "DEBUG, INFO, WARNING, ERROR or CRITICAL.",
        metavar="LEVEL",
        prefect="logging_level",
    )
    with_healthcheck: bool = _showing(False, "Serve /health and /ready.")
    health_host: str = _showing(
        "0.0.0.0",
        "The address to serve them on.",
        metavar="ADDRESS",
        prefect="worker_webserver_host",
    )
    health_port: Annotated[int, Field(ge=0, le=65535)] = _showing(
        8080, "The port to serve them on.", metavar="PORT", prefect="worker_webserver_port"
    )
    config: Path | None = _showing(
        None,
        "A TOML file of settings, for what is not given here or in the environment.",
        metavar="FILE",
    )

    @field_validator("name")
    @classmethod
    def _check_name(cls, name: str | None) -> str | None:
        """The server has the name as a part of addresses."""
        if name is not None and (not name.strip() or "/" in name or "%" in name):
            raise ValueError(
                f"the worker's name {name!r} is empty, or contains '/' or '%', which the server's"
                " addresses cannot carry: choose another one with --name"
            )
        return name


def all_settings() -> Iterator[Setting]:
    """Every setting, in the order of the help."""
    return settings_of(WorkerSettings)
