"""Everything a worker asks of a server beside states: the real ones and ours answer alike."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from actors.domain.errors import NotFound
from actors.domain.ids import DeploymentId, FlowId, FlowRunId
from actors.domain.model import LogLine, StateType, WorkerEvent
from tests.contract.conftest import Ask
from tests.contract.worlds import World, some_id, soon


def test_due_runs_come_by_queue_priority_and_time(ask: Ask) -> None:
    async def scenario(world: World) -> None:
        world.add_queue("high", 1)
        deployment = world.deploy()
        late = world.schedule(deployment, seconds_ahead=-10)
        later = world.schedule(deployment, seconds_ahead=-5)
        first = world.schedule(deployment, queue="high", seconds_ahead=-1)
        future = world.schedule(deployment, seconds_ahead=60)

        async def listed(
            *queues: str, within: float = 1, limit: int = 200
        ) -> tuple[list[FlowRunId], bool]:
            due = await world.orchestrator.read_due_runs(
                world.pool, queues, before=soon(within), limit=limit
            )
            assert due.length == len(due.runs)
            return [run.id for run in due.runs], due.may_be_cut

        assert await listed() == ([first, late, later], False)
        assert await listed("high") == ([first], False)
        assert await listed(limit=1) == ([first], True)
        assert await listed(within=100, limit=1000) == ([first, late, later, future], False)

    ask(scenario)


def test_limits_of_pool_and_queue_shorten_what_is_listed(ask: Ask) -> None:
    async def scenario(world: World) -> None:
        world.add_queue("narrow", 1, limit=2)
        deployment = world.deploy()
        active, *narrow = (
            world.schedule(deployment, queue="narrow", seconds_ahead=n - 10) for n in range(4)
        )
        wide = [world.schedule(deployment, seconds_ahead=n - 10) for n in range(3)]
        world.set_state(active, StateType.PENDING)

        async def listed(*queues: str) -> list[FlowRunId]:
            read = world.orchestrator.read_due_runs
            return [run.id for run in (await read(world.pool, queues, before=soon())).runs]

        assert await listed() == [narrow[0], *wide]
        assert await listed("narrow") == narrow[:1]
        world.limit_pool(3)
        assert await listed() == [narrow[0], wide[0]]
        assert await listed("default") == wide[:2]

    ask(scenario)


def test_everything_that_waits_in_a_queue_is_listed_whatever_holds_it_back(ask: Ask) -> None:
    async def scenario(world: World) -> None:
        world.add_queue("narrow", 1, limit=2)
        deployment = world.deploy()
        active, third, first, second, future = (
            world.schedule(deployment, queue="narrow", seconds_ahead=ahead)
            for ahead in (-9, -1, -3, -2, 60)
        )
        world.schedule(deployment)
        world.set_state(active, StateType.PENDING)
        world.limit_pool(1)
        world.pause()
        runs = await world.orchestrator.read_scheduled_runs(world.pool, "narrow", before=soon())
        assert [run.id for run in runs] == [first, second, third]
        runs = await world.orchestrator.read_scheduled_runs(world.pool, "narrow", before=soon(99))
        assert [run.id for run in runs] == [first, second, third, future]
        assert {run.deployment_id for run in runs} == {deployment}
        assert await world.orchestrator.read_scheduled_runs(world.pool, "no", before=soon()) == []

    ask(scenario)


def test_a_due_run_tells_what_it_is(ask: Ask) -> None:
    async def scenario(world: World) -> None:
        deployment = world.deploy(tags=["b"])
        run_id = world.schedule(deployment, job_variables={"env": {"K": "v"}})
        [run] = (await world.orchestrator.read_due_runs(world.pool, [], before=soon())).runs
        assert (run.id, run.deployment_id) == (run_id, deployment)
        assert (run.state.type, run.state.name) == (StateType.SCHEDULED, "Scheduled")
        # a poll's answer has no more of the state for certain
        assert run.job_variables == {"env": {"K": "v"}}
        assert run.infrastructure_pid is None
        assert run.due is not None
        assert run.due.tzinfo is not None
        whole = await world.orchestrator.read_flow_run(run_id)
        assert whole.state.id is not None
        assert whole.due == run.due

    ask(scenario)


def test_an_unknown_queue_is_not_found_when_polling(ask: Ask) -> None:
    async def scenario(world: World) -> None:
        with pytest.raises(NotFound, match="none"):
            await world.orchestrator.read_due_runs(world.pool, ["none"], before=soon())

    ask(scenario)


def test_cancelling_runs_are_found_under_new_and_old_names(ask: Ask) -> None:
    async def scenario(world: World) -> None:
        deployment = world.deploy()
        new, old, excluded, over = (world.schedule(deployment) for _ in range(4))
        for run in (new, old, excluded, over):
            await world.orchestrator.set_infrastructure_pid(run, "host:1")
            world.set_state(run, StateType.RUNNING)
        world.set_state(new, StateType.CANCELLING)
        world.set_state(old, StateType.CANCELLED, "Cancelling")
        world.set_state(excluded, StateType.CANCELLING)
        world.set_state(over, StateType.CANCELLED)
        found = await world.orchestrator.read_cancelling_runs(
            world.pool, [], excluding=[excluded, FlowRunId(some_id())]
        )
        assert {run.id for run in found} == {new, old}
        assert {run.state.type for run in found} == {StateType.CANCELLING, StateType.CANCELLED}
        assert {run.infrastructure_pid for run in found} == {"host:1"}
        assert all(run.state.id is not None for run in found)

    ask(scenario)


def test_cancelling_runs_are_found_by_queue(ask: Ask) -> None:
    async def scenario(world: World) -> None:
        world.add_queue("high", 1)
        deployment = world.deploy()
        here, there = world.schedule(deployment, queue="high"), world.schedule(deployment)
        for run in (here, there):
            world.set_state(run, StateType.RUNNING)
            world.set_state(run, StateType.CANCELLING)
        found = await world.orchestrator.read_cancelling_runs(world.pool, ["high"], excluding=[])
        assert [run.id for run in found] == [here]

    ask(scenario)


def test_deployments_and_flows_are_read(ask: Ask) -> None:
    async def scenario(world: World) -> None:
        deployment_id = world.deploy(job_variables={"env": {"A": "1"}}, tags=["x", "y"])
        deployment = await world.orchestrator.read_deployment(deployment_id)
        assert deployment.id == deployment_id
        assert deployment.job_variables == {"env": {"A": "1"}}
        assert set(deployment.tags) == {"x", "y"}
        assert deployment.flow_id is not None
        flow = await world.orchestrator.read_flow(deployment.flow_id)
        assert flow.id == deployment.flow_id

    ask(scenario)


def test_missing_things_are_not_found(ask: Ask) -> None:
    async def scenario(world: World) -> None:
        api = world.orchestrator
        with pytest.raises(NotFound):
            await api.read_deployment(DeploymentId(some_id()))
        with pytest.raises(NotFound):
            await api.read_flow(FlowId(some_id()))
        with pytest.raises(NotFound):
            await api.read_flow_run(FlowRunId(some_id()))
        with pytest.raises(NotFound):
            await api.read_block_by_name("secret", f"none-{some_id()[:8]}")
        with pytest.raises(NotFound):
            await api.read_block_by_id(some_id())
        with pytest.raises(NotFound):
            await api.read_variable(f"none_{some_id()[:8]}")

    ask(scenario)


def test_a_block_id_of_the_wrong_form_is_not_found(ask: Ask) -> None:
    async def scenario(world: World) -> None:
        with pytest.raises(NotFound):
            await world.orchestrator.read_block_by_id("no uuid")

    ask(scenario)


def test_blocks_come_with_their_secrets(ask: Ask) -> None:
    async def scenario(world: World) -> None:
        name = f"block-{some_id()[:8]}"
        block_id = world.add_block(name, "s3cr3t")
        assert await world.orchestrator.read_block_by_name("secret", name) == {"value": "s3cr3t"}
        assert await world.orchestrator.read_block_by_id(block_id) == {"value": "s3cr3t"}

    ask(scenario)


def test_variables_hold_any_json(ask: Ask) -> None:
    async def scenario(world: World) -> None:
        for value in ("text", {"a": [1, None, "x"]}, 3):
            name = f"variable_{some_id()[:8]}"
            world.add_variable(name, value)
            assert await world.orchestrator.read_variable(name) == value

    ask(scenario)


def test_log_lines_arrive_in_the_runs_log(ask: Ask) -> None:
    async def scenario(world: World) -> None:
        run = world.schedule(world.deploy())
        start = datetime(2026, 1, 1, tzinfo=UTC)
        lines = [
            LogLine(
                flow_run_id=run,
                level=level,
                message=message,
                timestamp=start + timedelta(milliseconds=number),
            )
            for number, (level, message) in enumerate([(20, "hello"), (40, "tschüß 🎈")])
        ]
        await world.orchestrator.send_logs(lines)
        await world.orchestrator.send_logs([])
        assert world.log_of(run) == lines

    ask(scenario)


def test_events_are_on_the_server_as_they_were_sent(ask: Ask) -> None:
    async def scenario(world: World) -> None:
        resource = {"prefect.resource.id": f"prefect.worker.process.{some_id()}", "a": "label"}
        pool = {"prefect.resource.id": "prefect.work-pool.p", "prefect.resource.role": "work-pool"}
        started = WorkerEvent(
            id=some_id(),
            event="prefect.worker.started",
            occurred=datetime.now(UTC),
            resource=resource,
            related=(pool,),
        )
        stopped = WorkerEvent(
            id=some_id(),
            event="prefect.worker.stopped",
            occurred=datetime.now(UTC),
            resource=resource,
            follows=started.id,
            payload={"a": [1, "ü"]},
        )
        await world.orchestrator.send_events([started, stopped])
        await world.orchestrator.send_events([])
        found = await world.events_about(resource["prefect.resource.id"], 2)
        assert found == [started, stopped]

    ask(scenario)


def test_labels_are_merged_where_the_server_knows_them(ask: Ask) -> None:
    async def scenario(world: World) -> None:
        run = world.schedule(world.deploy())
        knows = world.version >= (3, 1, 1)
        assert await world.orchestrator.add_labels(run, {"a": "1", "b": "2"}) is knows
        if knows:
            assert await world.orchestrator.add_labels(run, {"b": "3"})
            assert {"a": "1", "b": "3"}.items() <= world.labels_of(run).items()
            with pytest.raises(NotFound):
                await world.orchestrator.add_labels(FlowRunId(some_id()), {"a": "1"})

    ask(scenario)


def test_the_infrastructure_pid_is_kept(ask: Ask) -> None:
    async def scenario(world: World) -> None:
        run = world.schedule(world.deploy())
        await world.orchestrator.set_infrastructure_pid(run, "host:4711")
        assert (await world.orchestrator.read_flow_run(run)).infrastructure_pid == "host:4711"

    ask(scenario)
