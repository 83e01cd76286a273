"""The base job template of pools that this worker creates, and how it introduces itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from ..domain.model import Json
from .configuration import OWN_VARIABLES, ProcessJobConfiguration, ProcessVariables

OWN_PLACEHOLDERS: Final[dict[str, Json]] = {name: f"{{{{ {name} }}}}" for name in OWN_VARIABLES}
"""The part of every job configuration that is this worker's own."""


def default_base_job_template() -> dict[str, Json]:
    """A fresh copy of the template: Prefect's for type ``process`` (contract 4.6), and ours."""
    schema = ProcessVariables.model_json_schema()
    return {
        "job_configuration": {
            name: f"{{{{ {name} }}}}" for name in ProcessJobConfiguration.model_fields
        },
        "variables": {"properties": schema["properties"], "type": "object"},
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerType:
    """What a kind of worker says about itself."""

    type: str
    display_name: str
    description: str
    documentation_url: str
    logo_url: str


PROCESS_WORKER: Final = WorkerType(
    type="process",
    display_name="Process",
    description=(
        "Runs each flow run as a process of its own on the worker's machine, watches over it "
        "and reports how it ended."
    ),
    documentation_url="https://docs.prefect.io/v3/concepts/work-pools",
    logo_url=(
        "https://cdn.sanity.io/images/3ugk85nk/production/"
        "356e6766a91baf20e1d08bbe16e8b5aaef4d8643-48x48.png"
    ),
)
"""The one kind of worker there is here."""
