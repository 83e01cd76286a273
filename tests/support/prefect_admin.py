"""What users and engines do to a Prefect server, for tests: plain requests, no client."""

from __future__ import annotations

import json
import time
import urllib.request
from base64 import b64encode
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final
from urllib.error import HTTPError

from tests.support.prefect_server import PrefectServer

ATTEMPTS: Final = 240
PAUSE_SECONDS: Final = 0.25
"""A server on SQLite answers 503 while somebody else writes; nothing tells when it is over."""


class PrefectAdmin:
    """Everything a test needs from the server's API beside the worker's own operations."""

    def __init__(self, server: PrefectServer) -> None:
        self.server = server
        self._opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        self._csrf: dict[str, str] = {}

    def request(self, method: str, path: str, body: Any = None) -> Any:
        """The JSON of the answer; AssertionError, with the server's words, for a refusal."""
        if self.server.csrf and method != "GET" and not self._csrf:
            token = self.request("GET", "/csrf-token?client=admin")["token"]
            self._csrf = {"Prefect-Csrf-Token": token, "Prefect-Csrf-Client": "admin"}
        headers = {"Content-Type": "application/json", **self._csrf}
        if self.server.auth_string is not None:
            token = b64encode(self.server.auth_string.encode()).decode()
            headers["Authorization"] = f"Basic {token}"
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(
            self.server.api_url + path, data=data, headers=headers, method=method
        )
        for attempt in range(ATTEMPTS):
            try:
                with self._opener.open(request, timeout=60) as answer:
                    content = answer.read()
                return json.loads(content) if content else None
            except HTTPError as error:
                with error:
                    said = error.read().decode(errors="replace")
                if error.code != 503 or attempt == ATTEMPTS - 1:
                    raise AssertionError(f"{method} {path}: {error.code} {said}") from None
                time.sleep(PAUSE_SECONDS)
        raise AssertionError("unreachable")

    def create_pool(self, name: str, **fields: Any) -> Any:
        return self.request("POST", "/work_pools/", {"name": name, "type": "process", **fields})

    def create_queue(self, pool: str, name: str, **fields: Any) -> Any:
        return self.request("POST", f"/work_pools/{pool}/queues", {"name": name, **fields})

    def create_flow(self, name: str = "flow") -> str:
        return str(self.request("POST", "/flows/", {"name": name})["id"])

    def create_deployment(self, name: str, pool: str, **fields: Any) -> str:
        """``fields`` are further keys, such as entrypoint, path, job_variables, tags."""
        body = {
            "name": name,
            "flow_id": fields.pop("flow_id", None) or self.create_flow(f"flow-of-{name}"),
            "work_pool_name": pool,
            "enforce_parameter_schema": False,
            **fields,
        }
        return str(self.request("POST", "/deployments/", body)["id"])

    def switch_off(self, deployment_id: str) -> None:
        """Set the deployment's concurrency limit, which it must have, to 0."""
        limit = self.request("GET", f"/deployments/{deployment_id}")["global_concurrency_limit"]
        self.request("PATCH", f"/v2/concurrency_limits/{limit['id']}", {"limit": 0})

    def create_run(self, deployment_id: str, *, due: datetime | None = None, **fields: Any) -> str:
        """A scheduled flow run, due now unless told otherwise."""
        moment = (due or datetime.now(UTC)).isoformat()
        state = {"type": "SCHEDULED", "state_details": {"scheduled_time": moment}}
        path = f"/deployments/{deployment_id}/create_flow_run"
        return str(self.request("POST", path, {"state": state, **fields})["id"])

    def create_runs(self, deployment_id: str, number: int) -> None:
        """Scheduled flow runs that are due now, a hundred per request where servers allow that."""
        path = f"/deployments/{deployment_id}/create_flow_run"
        moment = datetime.now(UTC).isoformat()
        run = {"state": {"type": "SCHEDULED", "state_details": {"scheduled_time": moment}}}
        version = self.request("GET", "/admin/version")
        if tuple(map(int, version.split(".")[:2])) < (3, 8):
            for _ in range(number):
                self.request("POST", path, run)
            return
        for begin in range(0, number, 100):
            self.request("POST", f"{path}/bulk", [run] * min(100, number - begin))

    def set_state(self, run_id: str, type: str, *, force: bool = False, **fields: Any) -> Any:
        body = {"state": {"type": type, **fields}, "force": force}
        return self.request("POST", f"/flow_runs/{run_id}/set_state", body)

    def read_run(self, run_id: str) -> Any:
        return self.request("GET", f"/flow_runs/{run_id}")

    def states_of(self, run_id: str) -> list[str]:
        """Types of the run's states, oldest first. Not all servers have Submitting: left out."""
        states = self.request("GET", f"/flow_run_states/?flow_run_id={run_id}")
        states.sort(key=lambda state: state["timestamp"])
        return [state["type"] for state in states if state["name"] != "Submitting"]

    def logs_of(self, run_id: str) -> list[Any]:
        body = {"logs": {"flow_run_id": {"any_": [run_id]}}, "sort": "TIMESTAMP_ASC"}
        return list(self.request("POST", "/logs/filter", body))

    def create_variable(self, name: str, value: Any) -> None:
        self.request("POST", "/variables/", {"name": name, "value": value})

    def create_block(self, type_slug: str, name: str, data: Mapping[str, Any]) -> str:
        """A document of a block type that exists on every server, such as ``secret``."""
        kind = self.request("GET", f"/block_types/slug/{type_slug}")["id"]
        schemas = self.request(
            "POST", "/block_schemas/filter", {"block_schemas": {"block_type_id": {"any_": [kind]}}}
        )
        body = {
            "name": name,
            "data": data,
            "block_type_id": kind,
            "block_schema_id": schemas[0]["id"],
        }
        return str(self.request("POST", "/block_documents/", body)["id"])
