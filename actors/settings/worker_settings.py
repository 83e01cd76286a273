"""Every setting of a worker, once: its type, default and meaning, and how a person gives it.

The options of ``actor-worker start``, the ``ACTOR_WORKER_*`` variables, the keys of the settings
file, the reference table of the README and ``config/actor-worker.toml`` follow from this model.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Final, Literal

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
from .option import Option, Section, Setting, settings_of


def _split(value: Any) -> Any:
    """Names from a text such as ``high, low``."""
    if isinstance(value, str):
        return tuple(name.strip() for name in value.split(",") if name.strip())
    return value


_OTHER_NAMES: Final = {"WARN": "WARNING", "FATAL": "CRITICAL", "NOTSET": "DEBUG"}
"""Names of Python's logging that mean one of the five levels."""


def _level(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    name = value.upper()
    return _OTHER_NAMES.get(name, name)


LogLevel = Annotated[
    Literal["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"], BeforeValidator(_level)
]


_taking = partial(Option, Section.TAKING)
_running = partial(Option, Section.RUNNING)
_stopping = partial(Option, Section.STOPPING)
_showing = partial(Option, Section.SHOWING)


class WorkerSettings(BaseModel):
    """What one worker is to do. Times are in seconds unless the name says otherwise."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    pool: Annotated[
        str,
        Field(min_length=1),
        _taking("The work pool to take runs from.", metavar="NAME", short="-p", example="my-pool"),
    ]
    work_queues: Annotated[
        tuple[str, ...],
        BeforeValidator(_split),
        _taking(
            "Take runs of these queues only.",
            unset="all queues",
            metavar="NAME",
            short="-q",
            name="work-queue",
        ),
    ] = ()
    limit: Annotated[
        PositiveInt | None,
        _taking("Runs at a time.", unset="no limit", metavar="N", short="-l", example=10),
    ] = None
    memory_pause_percent: Annotated[
        float,
        Field(gt=0, le=100),
        _taking(
            "Take no runs while the machine, or its container, uses this many percent of its"
            " memory.",
            metavar="P",
        ),
    ] = 95.0
    prefetch_seconds: Annotated[
        NonNegativeFloat,
        _taking(
            "Take a run this many seconds before its time.",
            metavar="S",
            prefect="worker_prefetch_seconds",
        ),
    ] = 10.0
    query_seconds: Annotated[
        PositiveFloat,
        _taking(
            "Seconds between two polls for due runs.", metavar="S", prefect="worker_query_seconds"
        ),
    ] = 10.0
    run_once: Annotated[
        bool, _taking("Poll once, look for runs to cancel once, wait for the runs, and stop.")
    ] = False
    create_pool_if_not_found: Annotated[
        bool, _taking("Create the work pool when the server has none of this name.")
    ] = True
    base_job_template: Annotated[
        dict[str, Json] | None,
        BeforeValidator(read_base_job_template),
        _taking(
            "A JSON file with the base job template for a pool that is created.",
            metavar="FILE",
            example="template.json",
        ),
    ] = None
    python: Annotated[
        str | None,
        _running(
            "The Python that has Prefect and runs the flows: a path, or a name on PATH.",
            unset="found beside the worker or on PATH",
            metavar="PATH",
            example="/srv/flows/.venv/bin/python",
        ),
    ] = None
    name: Annotated[
        str | None,
        _running(
            "The worker's name.",
            unset="the host's, numbered when it is taken",
            metavar="NAME",
            short="-n",
            example="my-worker",
        ),
    ] = None
    type: Annotated[
        Literal["process"] | None,
        _running(
            "The worker's type; 'process' is the only one.",
            metavar="TYPE",
            short="-t",
            example="process",
        ),
    ] = None
    heartbeat_seconds: Annotated[
        float,
        Field(ge=1),
        _running(
            "Seconds between two heartbeats to the server.",
            metavar="S",
            prefect="worker_heartbeat_seconds",
        ),
    ] = 30.0
    end_leftovers: Annotated[
        bool, _running("End processes that a run leaves behind when it is over.")
    ] = True
    embedded: Annotated[
        bool,
        _running(
            "End the keeper and its runs with the worker: for tests, libraries, and containers of"
            " one purpose.",
            hidden=True,
        ),
    ] = False
    drain_seconds: Annotated[
        NonNegativeFloat | None,
        _stopping(
            "When asked to stop, wait this many seconds for the runs.",
            unset="as long as they take",
            metavar="S",
            example=600.0,
        ),
    ] = None
    on_deadline: Annotated[
        OnDeadline,
        _stopping(
            "What becomes of runs that are there after that: terminate ends them and reports them"
            " as crashed; leave leaves them to the next worker and gives back what has not"
            " started."
        ),
    ] = OnDeadline.TERMINATE
    state_dir: Annotated[
        Path | None,
        _stopping(
            "Where runs are recorded.",
            unset="follows from server, pool and host",
            metavar="FOLDER",
            example="/var/lib/actor-worker",
        ),
    ] = None
    keep_runs: Annotated[
        NonNegativeInt,
        _stopping("Keep the records of this many runs that are over.", metavar="N"),
    ] = 1000
    keep_runs_days: Annotated[
        NonNegativeFloat, _stopping("Keep them for this many days.", metavar="D")
    ] = 7.0
    log_format: Annotated[
        Literal["console", "json"] | None,
        _showing(
            "How log lines look: pretty, or as JSON objects.",
            unset="console on a terminal, else json",
            example="json",
        ),
    ] = None
    log_level: Annotated[
        LogLevel,
        _showing(
            "DEBUG, INFO, WARNING, ERROR or CRITICAL.", metavar="LEVEL", prefect="logging_level"
        ),
    ] = "INFO"
    with_healthcheck: Annotated[bool, _showing("Serve /health and /ready.")] = False
    health_host: Annotated[
        str,
        _showing(
            "The address to serve them on.", metavar="ADDRESS", prefect="worker_webserver_host"
        ),
    ] = "0.0.0.0"
    health_port: Annotated[
        int,
        Field(ge=0, le=65535),
        _showing("The port to serve them on.", metavar="PORT", prefect="worker_webserver_port"),
    ] = 8080
    config: Annotated[
        Path | None,
        _showing(
            "A TOML file of settings, for what is not given here or in the environment.",
            metavar="FILE",
        ),
    ] = None

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
