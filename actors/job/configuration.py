"""The job variables: the form that a pool offers, and the values that come out of it.

:class:`ProcessJobConfiguration` is both: its JSON schema is what Prefect's pages show and its
server checks job variables against, its instance a run's resolved configuration. The first six
variables are those of Prefect's process worker, by name, type and default; Prefect's worker
ignores the others.
"""

from __future__ import annotations

import signal
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Final

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from ..domain.model import Json
from ..domain.record import Limits

_DEFAULTS: Final = Limits()


def _signal_number(value: Json) -> Json:
    """``SIGINT``, ``int``, ``2`` or ``"2"`` as the signal's number. Raises ValueError."""
    text = str(value).strip().upper()
    name = text if text.startswith("SIG") else f"SIG{text}"
    number = int(text) if text.isdecimal() else signal.Signals.__members__.get(name, 0)
    if number not in signal.valid_signals():
        raise ValueError("is not a signal of this machine; write for example SIGINT or 2")
    return int(number)


def _not_a_boolean(value: Json) -> Json:
    """Pydantic would take true for 1. Raises ValueError."""
    if isinstance(value, bool):
        raise ValueError("must be a number, not true or false")
    return value


def _texts(value: Json) -> Json:
    """The values of a mapping as text, null excepted; placeholders may have any type."""
    if not isinstance(value, Mapping):
        return value
    return {str(key): None if item is None else str(item) for key, item in value.items()}


_AtLeastZero = Annotated[float, Field(ge=0, allow_inf_nan=False), BeforeValidator(_not_a_boolean)]
_AboveZero = Annotated[float, Field(gt=0, allow_inf_nan=False), BeforeValidator(_not_a_boolean)]
_Absolute = Annotated[Path, AfterValidator(Path.absolute)]
"""A relative path is the worker's; the keeper, which starts the run, works in another folder."""


class ProcessJobConfiguration(BaseModel):
    """The job variables, in the order in which they are shown.

    Values are read leniently, because placeholders may have any type; null and empty text mean
    the default.
    """

    model_config = ConfigDict(frozen=True, coerce_numbers_to_str=True, hide_input_in_errors=True)

    name: str | None = Field(
        default=None,
        description="How the run's job is called in logs, besides its flow run's name.",
    )
    env: Annotated[dict[str, str | None], BeforeValidator(_texts)] = Field(
        default_factory=dict,
        title="Environment Variables",
        description="Variables to add to the environment of the run's process.",
    )
    labels: Annotated[dict[str, str], BeforeValidator(_texts)] = Field(
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
    working_dir: _Absolute | None = Field(
        default=None,
        title="Working Directory",
        description=(
            "Directory to start the run's process in; it must exist on the worker's machine. "
            "Empty: a temporary one, removed after the run."
        ),
    )
    timeout_seconds: _AboveZero | None = Field(
        default=None,
        title="Timeout (seconds)",
        description=(
            "End the run, with everything it started, once it has lasted this long, and report "
            "it as crashed. Empty: no limit."
        ),
    )
    memory_limit_mb: _AboveZero | None = Field(
        default=None,
        title="Memory Limit (MB)",
        description=(
            "End the run when its processes together hold more memory than this. It is measured "
            "every few moments, so a short peak may pass unseen. Empty: no limit."
        ),
    )
    grace_seconds: _AtLeastZero = Field(
        default=_DEFAULTS.grace_seconds,
        title="Grace Period (seconds)",
        description="How long a run may take to end by itself before it is killed.",
    )
    kill_signal: Annotated[str | int, BeforeValidator(_signal_number)] = Field(
        default=signal.Signals(_DEFAULTS.kill_signal).name,
        validate_default=True,
        title="Kill Signal",
        description="The signal, by name or number, that asks a run to end.",
    )
    nice: Annotated[int, BeforeValidator(_not_a_boolean)] = Field(
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

    @model_validator(mode="before")
    @classmethod
    def _null_and_empty_mean_the_default(cls, data: Any) -> Any:
        if not isinstance(data, Mapping):
            return data
        return {key: value for key, value in data.items() if value is not None and value != ""}

    @property
    def limits(self) -> Limits:
        """The run's limits."""
        return Limits(
            timeout_seconds=self.timeout_seconds,
            memory_limit_mb=self.memory_limit_mb,
            grace_seconds=self.grace_seconds,
            kill_signal=int(self.kill_signal),
            nice=self.nice,
        )


def _placeholder(variable: str) -> str:
    return f"{{{{ {variable} }}}}"


_OF_PREFECT: Final = ("command", "env", "labels", "name", "stream_output", "working_dir")
"""The variables of Prefect's process worker, in the order of its job configuration."""

OWN_VARIABLES: Final = tuple(
    name for name in ProcessJobConfiguration.model_fields if name not in _OF_PREFECT
)
"""The variables that only this worker knows."""

OWN_PLACEHOLDERS: Final[dict[str, Json]] = {name: _placeholder(name) for name in OWN_VARIABLES}
"""Part of every job configuration, whether the pool's template mentions it or not."""


def default_base_job_template() -> dict[str, Json]:
    """A fresh copy of the template of Prefect's process worker, with our variables added."""
    schema = ProcessJobConfiguration.model_json_schema()
    return {
        "job_configuration": {name: _placeholder(name) for name in (*_OF_PREFECT, *OWN_VARIABLES)},
        "variables": {"properties": schema["properties"], "type": "object"},
    }
