"""Every setting of a worker, where it may come from, and what is said when it is wrong.

In order, the first that has a value wins: the command line (or the arguments of
:class:`Settings`), ``ACTOR_WORKER_*`` in the environment, the TOML file that ``--config`` or
``ACTOR_WORKER_CONFIG`` names, Prefect's own settings (``PREFECT_*``, ``profiles.toml``), and the
defaults here.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Final, Literal

from pydantic import BeforeValidator, Field, PlainValidator, ValidationError, field_validator
from pydantic_settings import (
    BaseSettings,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from ..messages.lifetime import OnDeadline
from ..prefect_api.settings.profile import PrefectProfile
from .base_job_template import read_base_job_template
from .errors import explain
from .sources import ENV_PREFIX, FileSource, PrefectSource

WORKER_TYPE: Final = "process"

SettingsClass = type[BaseSettings]

Seconds = Annotated[float, Field(allow_inf_nan=False)]


def _split(value: Any) -> Any:
    """Names from a text such as ``high, low``."""
    if isinstance(value, str):
        return tuple(name.strip() for name in value.split(",") if name.strip())
    return value


def _profile(value: Any) -> PrefectProfile:
    if isinstance(value, PrefectProfile):
        return value
    raise ValueError("it is not a PrefectProfile")


_OTHER_NAMES: Final = {"WARN": "WARNING", "FATAL": "CRITICAL", "NOTSET": "DEBUG"}
"""Names of Python's logging that mean one of the five levels."""


def _level(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    name = value.upper()
    return _OTHER_NAMES.get(name, name)


class Settings(BaseSettings):
    """The settings of one worker. SettingsError is raised for a wrong value, with its source."""

    model_config = SettingsConfigDict(
        env_prefix=ENV_PREFIX, env_ignore_empty=True, extra="forbid", frozen=True
    )

    pool: str = Field(min_length=1)
    """The work pool to take flow runs from."""
    name: str | None = None
    """None: made from the host's name (see :mod:`actors.app.identity`)."""
    work_queues: Annotated[tuple[str, ...], NoDecode, BeforeValidator(_split)] = ()
    """The queues to take runs from; empty: all of the pool's."""
    type: str | None = None
    """The worker's type; ``process`` is the only one there is."""
    limit: int | None = Field(default=None, ge=1)
    """Runs at a time; None: no limit."""
    memory_pause_percent: Annotated[float, Field(gt=0, le=100, allow_inf_nan=False)] = 95.0
    """No run is taken while the machine, or its container, uses this much of its memory."""
    prefetch_seconds: Seconds = Field(default=10.0, ge=0)
    """How long before its time a run is taken."""
    query_seconds: Seconds = Field(default=10.0, gt=0)
    """How often the pool is asked for due runs."""
    heartbeat_seconds: Seconds = Field(default=30.0, ge=1)
    """How often the server is told that the worker is alive; sent in whole seconds."""
    run_once: bool = False
    """Whether to poll once, wait for those runs and stop."""
    with_healthcheck: bool = False
    """Whether to serve /health and /ready on ``health_host`` and ``health_port``."""
    health_host: str = "0.0.0.0"
    health_port: int = Field(default=8080, ge=0, le=65535)
    base_job_template: Annotated[
        dict[str, Any] | None, NoDecode, BeforeValidator(read_base_job_template)
    ] = None
    """For a pool that has to be created: the template, or the JSON file that holds it."""
    create_pool_if_not_found: bool = True
    python: str | None = None
    """The interpreter that has Prefect: a path or a name on PATH; None: found."""
    config: Path | None = None
    """The TOML file that settings were read from."""
    log_format: Literal["console", "json"] | None = None
    """None: pretty on a terminal, JSON elsewhere."""
    log_level: Annotated[
        Literal["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"], BeforeValidator(_level)
    ] = "INFO"
    state_dir: Path | None = None
    """The folder where runs are recorded; None: one that follows from server, pool and host."""
    drain_seconds: Seconds | None = Field(default=None, ge=0)
    """How long a stopping worker waits for its runs; None: as long as they take."""
    on_deadline: OnDeadline = OnDeadline.TERMINATE
    """What becomes of runs that are still there after ``drain_seconds``."""
    keep_runs: int = Field(default=1000, ge=0)
    """How many folders of runs that are over are kept."""
    keep_runs_days: Seconds = Field(default=7.0, ge=0)
    """How many days they are kept."""
    end_leftovers: bool = True
    """Whether processes that a run leaves behind are ended when it is over."""
    embedded: bool = False
    """Whether the keeper ends with the worker, and its runs with it: for tests and libraries."""
    # neither looked into nor dumped by pydantic: it is whole already, and it holds secrets
    prefect: Annotated[PrefectProfile, NoDecode, PlainValidator(_profile)] = Field(exclude=True)
    """Prefect's own settings: the server's address, credentials, timeouts."""

    def __init__(self, **values: Any) -> None:
        try:
            super().__init__(**values)
        except ValidationError as error:
            raise explain(error, type(self).model_fields, values, self._argument) from None

    @staticmethod
    def _argument(field: str) -> str:
        """How the caller gave ``field``, in the words of an error message."""
        return f"{field} (argument of Settings)"

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: SettingsClass,
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """The sources, strongest first."""
        return (init_settings, env_settings, FileSource(settings_cls), PrefectSource(settings_cls))

    @field_validator("name")
    @classmethod
    def _addressable(cls, name: str | None) -> str | None:
        """The server has the name as a part of addresses."""
        if name is None:
            return None
        if not name.strip():
            raise ValueError("The worker's name is empty: choose one with --name")
        if wrong := next((character for character in "/%" if character in name), None):
            raise ValueError(
                f"The worker's name {name!r} contains {wrong!r}, which the server's addresses"
                " cannot carry: choose one without '/' and '%'"
            )
        return name

    @field_validator("type")
    @classmethod
    def _process(cls, value: str | None) -> str | None:
        if value in (None, WORKER_TYPE):
            return value
        raise ValueError(
            f"this worker runs flow runs as processes, its type can only be {WORKER_TYPE!r} and"
            f" not {value!r}; for other types there is Prefect's own worker"
        )


class CommandLineSettings(Settings):
    """Settings whose arguments are options of the command line."""

    @staticmethod
    def _argument(field: str) -> str:
        return f"{option_of(field)} (command line)"


def option_of(field: str) -> str:
    """The command line's option for a setting."""
    name = {"work_queues": "work_queue"}.get(field, field)
    return "--" + name.replace("_", "-")
