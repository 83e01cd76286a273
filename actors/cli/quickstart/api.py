"""What quickstart requests of the server: a pool, deployments, runs, and one cancellation."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final
from uuid import uuid4

import requests
from requests.adapters import HTTPAdapter
from urllib3 import Retry

from ...domain.errors import OrchestratorError, Unavailable

POOL: Final = "quickstart"

_SECONDS: Final = 30.0
"""Bound of one request; the server is on this machine and just woke up."""
_STARTING_SECONDS: Final = 1.0
"""Bound of one that asks whether it has."""

_WHEN_BUSY: Final = Retry(
    total=None,
    connect=0,
    read=0,
    other=0,
    status=10,
    status_forcelist=[503],
    allowed_methods=None,
    backoff_factor=0.2,
    backoff_max=5.0,
    raise_on_status=False,
)
"""Any request is sent again for half a minute while the server answers 503: another writer had
its database, and nothing was written."""


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
    """Prefect's HTTP API at ``url``, which ends in ``/api``.

    ``authorization`` is ``user:password``, as in PREFECT_API_AUTH_STRING.
    """

    def __init__(self, url: str, authorization: str) -> None:
        self.url = url
        self._address = url.removesuffix("/api")
        self._session = requests.Session()
        user, _, password = authorization.partition(":")
        self._session.auth = (user, password)
        # the server is on this machine: no proxy of the environment
        self._session.trust_env = False
        self._session.mount(url, HTTPAdapter(max_retries=_WHEN_BUSY))

    def close(self) -> None:
        self._session.close()

    def version(self) -> str:
        """The server's version. Unavailable: it does not answer (yet)."""
        return str(self._request("GET", "/api/admin/version", seconds=_STARTING_SECONDS))

    def pages(self) -> str:
        """The address of the server's pages.

        Prefect 3.8 has two kinds. Those at ``/`` show errors to a person who follows a link
        without authorization; those at ``/v2`` ask for it.
        """
        base = self._request("GET", "/ui-settings").get("v2_base_url") or ""
        return f"{self._address}{base}"

    def ensure_pool(self) -> None:
        """Create the work pool unless it exists."""
        self._request("POST", "/api/work_pools/", {"name": POOL, "type": "process"}, fine=409)

    def deploy(self, flow: str, entrypoint: str, folder: Path) -> str:
        """Create or renew the deployment of ``flow``, read from ``folder``; its id."""
        flow_id = self._request("POST", "/api/flows/", {"name": flow})["id"]
        deployment = self._request(
            "POST",
            "/api/deployments/",
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
        body = {
            "state": {"type": "SCHEDULED", "state_details": {}},
            "idempotency_key": str(uuid4()),
        }
        answer = self._request("POST", f"/api/deployments/{deployment}/create_flow_run", body)
        return _sample_run(answer, flow)

    def look(self, run: SampleRun) -> SampleRun:
        return _sample_run(self._request("GET", f"/api/flow_runs/{run.id}"), run.flow)

    def cancel(self, run: SampleRun) -> None:
        """Ask for the run's cancellation, as the button on its page does."""
        state = {
            "type": "CANCELLING",
            "name": "Cancelling",
            "state_details": {"transition_id": str(uuid4())},
        }
        self._request("POST", f"/api/flow_runs/{run.id}/set_state", {"state": state})

    def _request(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        fine: int | None = None,
        seconds: float = _SECONDS,
    ) -> Any:
        url = self._address + path
        try:
            answer = self._session.request(method, url, json=body, timeout=seconds)
        except requests.RequestException as error:
            raise Unavailable(f"The server at {self.url} does not answer: {error}") from error
        if answer.status_code == 503:
            raise Unavailable(f"The server at {self.url} is busy.", status=503)
        if not answer.ok and answer.status_code != fine:
            raise OrchestratorError(
                f"The server answered {method} {url} with {answer.status_code}:"
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
