"""What stands between a due run and its process: runs that cannot or must not be started."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from actors.domain.ids import FlowRunId
from actors.domain.model import Proposal, Verdict
from actors.prefect_api.client import PrefectApi
from actors.prefect_api.http.session import Session
from actors.runtime import LoopClock
from tests.integration.prefect.flow_programs import write_flows
from tests.integration.prefect.kit import Place, shell
from tests.integration.prefect.workers import Connect

EVERY_SERIES = pytest.mark.series()


@EVERY_SERIES
def test_code_in_a_storage_block_is_run(place: Place) -> None:
    """The engine copies it from the block to where it works."""
    suffix = place.pool.split()[1]
    code = place.folder / "kept"
    write_flows(code)
    block = place.admin.create_block(
        "local-file-system", f"code-{suffix}", {"basepath": str(code)}
    )
    run = place.admin.create_run(
        place.deploy(
            flow_id=place.admin.create_flow("succeeds"),
            entrypoint="flows.py:succeeds",
            storage_document_id=block,
            job_variables={"env": {"NOTES": str(place.folder)}},
        )
    )
    with place.worker():
        state = place.state_once(run)
    assert state["type"] == "COMPLETED"


@pytest.mark.series("3.9")
def test_a_run_without_a_deployment_is_run_from_the_pools_template(place: Place) -> None:
    flow = place.admin.create_flow(f"flow of {place.pool}")
    body = {
        "flow_id": flow,
        "state": {"type": "SCHEDULED"},
        "work_pool_name": place.pool,
        "job_variables": {
            "command": shell('echo $PREFECT__FLOW_ID >> "$1"/runs', str(place.folder)),
            "report_states": True,
        },
    }
    run = place.admin.request("POST", "/flow_runs/", body)["id"]
    with place.worker():
        assert place.state_once(run)["type"] == "COMPLETED"
    assert place.admin.read_run(run)["deployment_id"] is None
    assert place.started_by("runs") == [flow]


def right_after_the_claim(place: Place, method: str, path: str, body: Any = None) -> Connect:
    """An orchestrator for which somebody does something right after the claim of a run."""

    class Meddled(PrefectApi):
        async def propose_state(self, run_id: FlowRunId, proposal: Proposal) -> Verdict:
            verdict = await super().propose_state(run_id, proposal)
            if proposal.name == "Pending":
                await asyncio.to_thread(place.admin.request, method, path, body)
            return verdict

    @asynccontextmanager
    async def connect() -> AsyncIterator[PrefectApi]:
        session = Session(place.settings().prefect.session_options(), clock=LoopClock())
        try:
            yield Meddled(session)
        finally:
            await session.aclose()

    return connect


@EVERY_SERIES
def test_a_run_whose_deployment_is_deleted_under_it_is_cancelled_in_words(place: Place) -> None:
    deployment = place.deploy(shell('touch "$1"/started', str(place.folder)))
    run = place.admin.create_run(deployment)
    with place.worker(
        connect=right_after_the_claim(place, "DELETE", f"/deployments/{deployment}")
    ):
        state = place.state_once(run)
    assert state["type"] == "CANCELLED"
    assert "no longer exists" in state["message"]
    assert not (place.folder / "started").exists()


@EVERY_SERIES
def test_a_run_is_submitting_before_its_process_starts_where_the_server_knows_that(
    place: Place,
) -> None:

    run = place.run("true", report_states=True)
    with place.worker():
        assert place.state_once(run)["type"] == "COMPLETED"
    knows_it = place.server_series >= (3, 7)
    names = [state["name"] for state in place.history(run)]
    between = ["Submitting"] if knows_it else []
    assert names == ["Scheduled", "Pending", *between, "Running", "Completed"]


def test_submitting_can_be_switched_off(place: Place) -> None:
    run = place.run("true", report_states=True)
    with place.worker(submitting_state=False):
        assert place.state_once(run)["type"] == "COMPLETED"
    names = [state["name"] for state in place.history(run)]
    assert names == ["Scheduled", "Pending", "Running", "Completed"]


@EVERY_SERIES
def test_a_run_that_is_cancelled_before_its_process_starts_has_none(place: Place) -> None:
    run = place.run(shell('touch "$1"/started', str(place.folder)))
    cancel = {"state": {"type": "CANCELLING", "name": "Cancelling"}, "force": True}
    meddled = right_after_the_claim(place, "POST", f"/flow_runs/{run}/set_state", cancel)
    with place.worker(connect=meddled):
        assert place.state_once(run)["type"] == "CANCELLED"
    if place.server_series >= (3, 7):  # else it has begun, and is ended
        assert not (place.folder / "started").exists()


@pytest.mark.series("3.1", "3.8", "3.9")
def test_a_resumed_run_whose_deployment_was_deleted_is_cancelled_in_words(place: Place) -> None:
    """The server refuses its claim: it would be offered with every poll."""
    deployment = place.deploy(shell('touch "$1"/started', str(place.folder)))
    run = place.admin.create_run(deployment)
    suspended = {"name": "Suspended", "state_details": {"pause_reschedule": True}}
    place.admin.set_state(run, "PAUSED", force=True, **suspended)
    place.admin.request("DELETE", f"/deployments/{deployment}")
    place.admin.set_state(run, "SCHEDULED", name="Resuming", force=True)
    with place.worker():
        assert place.state_once(run)["type"] == "CANCELLED"
        place.log_once(run, "no longer exists")
    assert not (place.folder / "started").exists()


def test_a_run_that_is_deleted_before_its_turn_disturbs_nobody(place: Place) -> None:
    deployment = place.deploy("true")
    runs = [place.admin.create_run(deployment) for _ in range(3)]
    for run in runs:
        place.admin.request("DELETE", f"/flow_runs/{run}")
    with place.worker():
        assert place.state_once(place.run("true", report_states=True))["type"] == "COMPLETED"
