"""What quickstart asks of the server: a pool, deployments, runs, and one cancellation."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final
from uuid import uuid4

import requests

from ...domain.errors import OrchestratorError, Unavailable

POOL: Final = "quickstart"

_SECONDS: Final = 30.0
"""Bound of one request; the server is on this machine and just woke up."""


@dataclass(frozen=True, slots=True)
class SampleRun:
    """A run of a sample flow as the server last described it."""

    id: str
    flow: str
    state: str
    """The state's name."""
    message: str | None = None
    seconds: float | None = None
    """From its start to its end; None where the server does not know both."""
    over: bool = False


class ServerApi:
    """Prefect's HTTP API at ``url``, which ends in ``/api``."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._session = requests.Session()
        # a proxy from the environment has no business on this machine
        self._session.trust_env = False

    def close(self) -> None:
        """Give the connections back."""
        self._session.close()

    def version(self) -> str:
        """The server's version. Unavailable: it does not answer (yet)."""
        return str(self._ask("GET", "/admin/version"))

    def ensure_pool(self) -> None:
        """Create the work pool unless it is there from an earlier time."""
        self._ask("POST", "/work_pools/", {"name": POOL, "type": "process"}, fine=409)

    def deploy(self, flow: str, entrypoint: str, folder: Path) -> str:
        """Create or renew the deployment of ``flow``, read from ``folder``; its id."""
        flow_id = self._ask("POST", "/flows/", {"name": flow})["id"]
        deployment = self._ask(
            "POST",
            "/deployments/",
            {
                "name": POOL,
                "flow_id": flow_id,
                "work_pool_name": POOL,
                "path": str(folder),
                "entrypoint": entrypoint,
                "tags": ["actor-worker quickstart"],
            },
        )
        return str(deployment["id"])

    def run(self, deployment: str, flow: str) -> SampleRun:
        """Create a run that is due at once."""
        body = {"state": {"type": "SCHEDULED", "state_details": {}}}
        answer = self._ask("POST", f"/deployments/{deployment}/create_flow_run", body)
        return _sample_run(answer, flow)

    def look(self, run: SampleRun) -> SampleRun:
        """The run as it is now."""
        return _sample_run(self._ask("GET", f"/flow_runs/{run.id}"), run.flow)

    def cancel(self, run: SampleRun) -> None:
        """Ask for the run's cancellation, as the button on its page does."""
        state = {
            "type": "CANCELLING",
            "name": "Cancelling",
            "state_details": {"transition_id": str(uuid4())},
        }
        self._ask("POST", f"/flow_runs/{run.id}/set_state", {"state": state})

    def _ask(self, method: str, path: str, body: Any = None, *, fine: int | None = None) -> Any:
        try:
            answer = self._session.request(method, self.url + path, json=body, timeout=_SECONDS)
        except requests.RequestException as error:
            raise Unavailable(f"The server at {self.url} does not answer: {error}") from error
        if answer.status_code == 503:
            raise Unavailable(f"The server at {self.url} is busy.", status=503)
        if not answer.ok and answer.status_code != fine:
            raise OrchestratorError(
                f"The server answered {method} {path} with {answer.status_code}:"
                f" {answer.text[:500]}",
                status=answer.status_code,
            )
        return answer.json()


_OVER: Final = frozenset({"COMPLETED", "FAILED", "CRASHED", "CANCELLED"})


def _sample_run(answer: Any, flow: str) -> SampleRun:
    state = answer.get("state") or {}
    started, ended = answer.get("start_time"), answer.get("end_time")
    return SampleRun(
        id=str(answer["id"]),
        flow=flow,
        state=str(state.get("name") or answer.get("state_name")),
        message=state.get("message"),
        seconds=_seconds(started, ended) if started and ended else None,
        over=state.get("type") in _OVER,
    )


def _seconds(started: str, ended: str) -> float:
    return (datetime.fromisoformat(ended) - datetime.fromisoformat(started)).total_seconds()
