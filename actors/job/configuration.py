"""The two pydantic models of a job: what a pool offers to set, and what comes out of it.

:class:`ProcessVariables` is the form that Prefect's pages show and its server checks job
variables against; :class:`ProcessJobConfiguration` is the resolved result, with the lenience
that values from placeholders need. The first six of each are Prefect's by name, type and default
(contract 4.6); the others are this worker's own.
"""

from __future__ import annotations

import signal
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Final

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from ..domain.model import Json
from ..domain.record import Limits

_DEFAULTS: Final = Limits()


class ProcessVariables(BaseModel):
    """The variables of the default base job template, in the order in which they are shown."""

    name: str | None = Field(
        default=None,
        description="How the run's job is called in logs, besides its flow run's name.",
    )
    env: dict[str, str | None] = Field(
        default_factory=dict,
        title="Environment Variables",
        description="Variables to add to the environment of the run's process.",
    )
    labels: dict[str, str] = Field(
        default_factory=dict,
        description="Labels of the run's infrastructure. Processes carry none.",
    )
    command: str | None = Field(
        default=None,
        description=(
            "What to run, split into arguments as a shell would. Leave it empty to run the flow "
            "with Prefect's engine."
        ),
    )
    stream_output: bool = Field(
        default=True,
        description=(
            "Show what the run's process prints in the worker's log. It is kept for crash "
            "reports either way."
        ),
    )
    working_dir: Path | None = Field(
        default=None,
        title="Working Directory",
        description=(
            "Directory to start the run's process in; it must exist on the worker's machine. "
            "Empty: a temporary one, removed after the run."
        ),
    )
    timeout_seconds: float | None = Field(
        default=None,
        gt=0,
        title="Timeout (seconds)",
        description=(
            "End the run, with everything it started, once it has lasted this long, and report "
            "it as crashed. Empty: no limit."
        ),
    )
    memory_limit_mb: float | None = Field(
        default=None,
        gt=0,
        title="Memory Limit (MB)",
        description=(
            "End the run when its processes together hold more memory than this. It is measured "
            "every few moments, so a short peak may pass unseen. Empty: no limit."
        ),
    )
    grace_seconds: float = Field(
        default=_DEFAULTS.grace_seconds,
        ge=0,
        title="Grace Period (seconds)",
        description="How long a run may take to end by itself before it is killed.",
    )
    kill_signal: str | int = Field(
        default=signal.Signals(_DEFAULTS.kill_signal).name,
        title="Kill Signal",
        description="The signal, by name or number, that asks a run to end.",
    )
    nice: int = Field(
        default=_DEFAULTS.nice,
        ge=-20,
        le=19,
        title="Niceness",
        description=(
            "How far the run steps back for other processes when the processor is busy: 19 the "
            "furthest, negative values need privileges."
        ),
    )
    report_states: bool = Field(
        default=False,
        title="Report States",
        description=(
            "For commands that are not flows: report the run as Running when the command starts "
            "and as Completed or Failed, by its exit code, when it ends."
        ),
    )
    warm_start: bool | None = Field(
        default=None,
        title="Warm Start",
        description=(
            "Whether the run may start from a process that has imported Prefect already, where "
            "the worker keeps such processes. Empty: as the worker is set up."
        ),
    )


OWN_VARIABLES: Final[tuple[str, ...]] = tuple(ProcessVariables.model_fields)[6:]
"""The variables that are this worker's own; Prefect's process worker ignores them."""


def _signal_number(value: Json) -> Json:
    """``SIGINT``, ``int``, ``2`` or ``"2"`` as the signal's number. Raises ValueError."""
    text = str(value).strip().upper()
    name = text if text.startswith("SIG") else f"SIG{text}"
    number = int(text) if text.isdecimal() else signal.Signals.__members__.get(name, 0)
    if number not in signal.valid_signals():
        raise ValueError("is not a signal of this machine; write for example SIGINT or 2")
    return int(number)


def _no_switch(value: Json) -> Json:
    """Pydantic would take true for 1. Raises ValueError."""
    if isinstance(value, bool):
        raise ValueError("must be a number, not true or false")
    return value


def _texts(value: Json) -> Json:
    """Values of a mapping as text, null excepted; placeholders may have made them anything."""
    if not isinstance(value, Mapping):
        return value
    return {str(key): None if item is None else str(item) for key, item in value.items()}


_Number = Annotated[float, BeforeValidator(_no_switch), Field(allow_inf_nan=False)]


class ProcessJobConfiguration(BaseModel):
    """A run's resolved job configuration. Null and empty text count as not given."""

    model_config = ConfigDict(frozen=True, coerce_numbers_to_str=True, hide_input_in_errors=True)

    command: str | None = None
    env: Annotated[dict[str, str | None], BeforeValidator(_texts)] = Field(default_factory=dict)
    labels: Annotated[dict[str, str], BeforeValidator(_texts)] = Field(default_factory=dict)
    name: str | None = None
    stream_output: bool = True
    working_dir: Path | None = None
    timeout_seconds: _Number | None = Field(default=None, gt=0)
    memory_limit_mb: _Number | None = Field(default=None, gt=0)
    grace_seconds: _Number = Field(default=_DEFAULTS.grace_seconds, ge=0)
    kill_signal: Annotated[int, BeforeValidator(_signal_number)] = _DEFAULTS.kill_signal
    nice: Annotated[int, BeforeValidator(_no_switch)] = Field(
        default=_DEFAULTS.nice, ge=-20, le=19
    )
    report_states: bool = False
    warm_start: bool | None = None

    @model_validator(mode="before")
    @classmethod
    def _drop_what_is_not_given(cls, data: Any) -> Any:
        if not isinstance(data, Mapping):
            return data
        return {key: value for key, value in data.items() if value is not None and value != ""}

    @property
    def limits(self) -> Limits:
        """The run's bounds."""
        return Limits(
            timeout_seconds=self.timeout_seconds,
            memory_limit_mb=self.memory_limit_mb,
            grace_seconds=self.grace_seconds,
            kill_signal=self.kill_signal,
            nice=self.nice,
        )
