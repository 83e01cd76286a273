"""What the worker asks about runs, as it was on the wire: due ones, states, logs, deployments."""

from __future__ import annotations

from datetime import UTC, datetime

from actors.domain.ids import DeploymentId, FlowRunId, TransitionId
from actors.domain.model import (
    Aborted,
    Accepted,
    FlowRun,
    LogLine,
    Proposal,
    Rejected,
    StateType,
    Verdict,
)
from actors.job.job import build_job
from actors.job.template import Resolved
from tests.contract.captures import Exchange, captured, replay
from tests.support.http_server import Reply


def propose(exchange: Exchange) -> Verdict:
    """Propose what was proposed then; our body has no key that the captured one lacks."""
    state = exchange["request"]["state"]
    proposal = Proposal(
        type=StateType(state["type"]),
        name=state["name"],
        message=state["message"],
        transition_id=TransitionId(state["state_details"]["transition_id"]),
    )
    run_id = FlowRunId(exchange["path"].split("/")[3])
    verdict, received = replay(exchange, lambda api: api.propose_state(run_id, proposal))
    assert set(received.json) == set(exchange["request"])
    assert set(received.json["state"]) == set(state)
    assert set(received.json["state"]["state_details"]) <= set(state["state_details"])
    return verdict


def name_of(run: FlowRun, field: str) -> str:
    """The job's name, where the template names a field of the run between two bars."""
    resolved = Resolved({"command": "true", "name": f"|{{{{ ctx.flow_run.{field} }}}}|"})
    job = build_job(resolved, run=run, flow=None, engine_python="")
    return equivalent((job.name or "")[1:-1])


def equivalent(value: object) -> str:
    """``value`` as text, moments in one form."""
    try:
        return datetime.fromisoformat(str(value)).isoformat()
    except ValueError:
        return str(value)


@captured("due runs")
def test_due_runs(exchange: Exchange) -> None:
    before = datetime(2026, 1, 1, tzinfo=UTC)
    due, received = replay(exchange, lambda api: api.read_due_runs("cap-pool", [], before=before))
    [run] = due.runs
    raw = exchange["answer"][0]["flow_run"]
    assert set(received.json) == set(exchange["request"])
    assert (run.id, run.name, run.flow_id) == (raw["id"], raw["name"], raw["flow_id"])
    assert (run.state.type, run.state.name) == (StateType.SCHEDULED, raw["state_name"])
    assert run.due == datetime.fromisoformat(raw["next_scheduled_start_time"])
    assert run.deployment_id == raw["deployment_id"]
    assert set(run.tags) == set(raw["tags"])


@captured("due runs")
def test_every_field_of_a_due_run_has_its_name_in_templates(exchange: Exchange) -> None:
    """As in Prefect 3.8, where the job's name is filled from all of the run's fields."""
    before = datetime(2026, 1, 1, tzinfo=UTC)
    due, _ = replay(exchange, lambda api: api.read_due_runs("cap-pool", [], before=before))
    [run] = due.runs
    raw = exchange["answer"][0]["flow_run"]
    told = {name: value for name, value in raw.items() if isinstance(value, str | int | float)}
    assert {"created", "auto_scheduled", "estimated_run_time", "flow_id", "name"} <= set(told)
    assert {name: name_of(run, name) for name in told} == {
        name: equivalent(value) for name, value in told.items()
    }


@captured("deployment")
def test_deployments(exchange: Exchange) -> None:
    raw = exchange["answer"]
    deployment, _ = replay(exchange, lambda api: api.read_deployment(DeploymentId(raw["id"])))
    assert (deployment.name, deployment.flow_id) == (raw["name"], raw["flow_id"])
    assert deployment.job_variables == raw["job_variables"]


@captured("accepted")
def test_accepted(exchange: Exchange) -> None:
    verdict = propose(exchange)
    assert isinstance(verdict, Accepted)
    assert verdict.state.id == exchange["answer"]["state"]["id"]
    sent = exchange["request"]["state"]["state_details"]["transition_id"]
    assert verdict.state.transition_id == sent


@captured("no slot")
def test_no_slot(exchange: Exchange) -> None:
    verdict = propose(exchange)
    assert isinstance(verdict, Rejected)
    assert (verdict.state.type, verdict.state.name) == (
        StateType.SCHEDULED,
        "AwaitingConcurrencySlot",
    )


@captured("aborted")
def test_aborted(exchange: Exchange) -> None:
    verdict = propose(exchange)
    assert isinstance(verdict, Aborted)
    assert verdict.reason == "Run is already in terminal state FAILED."


@captured("cancelling kept")
def test_cancelling_kept(exchange: Exchange) -> None:
    verdict = propose(exchange)
    assert isinstance(verdict, Rejected)
    assert verdict.state.type is StateType.CANCELLING


@captured("cancelling runs")
def test_cancelling_runs(exchange: Exchange) -> None:
    none = Reply(200, [])
    [run], received = replay(
        exchange,
        lambda api: api.read_cancelling_runs("cap-pool", [], excluding=[FlowRunId("other")]),
        *[none] * 2,
    )
    assert run.id == exchange["answer"][0]["id"]
    assert run.state.type is StateType.CANCELLING
    assert run.infrastructure_pid == exchange["answer"][0]["infrastructure_pid"]
    assert set(received.json) <= set(exchange["request"])
    assert received.json["flow_runs"]["id"] == {"not_any_": ["other"]}


@captured("log lines")
def test_log_lines(exchange: Exchange) -> None:
    raw = exchange["request"]
    lines = [
        LogLine(
            flow_run_id=FlowRunId(line["flow_run_id"]),
            level=line["level"],
            message=line["message"],
            timestamp=datetime.fromisoformat(line["timestamp"]),
            logger=line["name"],
        )
        for line in raw
    ]
    _, received = replay(exchange, lambda api: api.send_logs(lines))
    moments = [datetime.fromisoformat(line.pop("timestamp")) for line in received.json]
    assert moments == [line.timestamp for line in lines]
    assert [{k: v for k, v in line.items() if k != "timestamp"} for line in received.json] == [
        {k: v for k, v in line.items() if k != "timestamp"} for line in raw
    ]
