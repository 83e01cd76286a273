"""What of a run's output reaches the server, and that secrets do not, on virtual time."""

from __future__ import annotations

import asyncio
import shlex

import pytest
from structlog.testing import capture_logs

from actors.domain.errors import NotFound, Unavailable
from actors.domain.ids import FlowRunId
from actors.domain.model import StateType
from actors.domain.secret_forms import forms_of
from actors.testing.processes import ScriptedProcess
from tests.support.worker_world import POOL, WorkerWorld, play

SECRET = "planted-0123456789"
JOB = {"env": {"MY_PASSWORD": SECRET}}


async def running(world: WorkerWorld, **more: object) -> tuple[FlowRunId, ScriptedProcess]:
    """A run that knows the secret and has printed it, and its process."""
    world.keeper.script = world.sleeper
    deployment = world.server.add_deployment()
    run = world.server.schedule(POOL, job_variables=JOB, deployment_id=deployment)
    await world.start()
    await world.until_state(run, StateType.RUNNING)
    [process] = world.keeper.alive()
    world.journal.output[process.key] = (f"the password is {SECRET}!",)
    process.print(f"the password is {SECRET}!")
    return run, process


def message_of(world: WorkerWorld, run: FlowRunId) -> str:
    return world.server.run(run).state.message or ""


def test_a_run_that_never_ran_has_its_output_in_its_log() -> None:
    def broken(process: ScriptedProcess) -> None:
        world_of[0].journal.output[process.key] = ("No module named prefect", f"key {SECRET}")
        process.clock.call_later(1.0, lambda: process.end(1))

    world_of: list[WorkerWorld] = []

    async def story(world: WorkerWorld) -> None:
        world_of.append(world)
        world.keeper.script = broken
        run = world.server.schedule(POOL, job_variables=JOB)
        await world.start()
        await world.until_state(run, StateType.CRASHED)
        await world.until_settled()
        await world.stop()
        said = [line.message for line in world.server.logs if line.flow_run_id == run]
        assert [line for line in said if line in ("No module named prefect", "key ********")] == [
            "No module named prefect",
            "key ********",
        ]

    play(story)


def test_the_output_of_a_run_that_could_log_is_not_repeated_in_its_log() -> None:
    async def story(world: WorkerWorld) -> None:
        run, process = await running(world)
        process.end(1)
        await world.until_state(run, StateType.CRASHED)
        await world.until_settled()
        await world.stop()
        assert not [line for line in world.server.logs if line.message.startswith("the password")]

    play(story)


@pytest.mark.parametrize("ended", ["before", "after"])
def test_the_successor_masks_what_an_adopted_run_prints(
    ended: str, capsys: pytest.CaptureFixture[str]
) -> None:
    async def story(world: WorkerWorld) -> None:
        run, process = await running(world)
        await world.kill()
        if ended == "before":
            process.end(1)
        await world.start()
        if ended == "after":
            await world.until(lambda: bool(process.listener))
            process.end(1)
        await world.until_state(run, StateType.CRASHED)
        assert "the password is ********!" in message_of(world, run)
        assert SECRET not in message_of(world, run)

    play(story)
    assert SECRET not in capsys.readouterr().out


def test_no_form_of_a_secret_is_written_anywhere(capsys: pytest.CaptureFixture[str]) -> None:
    secret = 'it\'s 50% "off" & C:\\new/é'
    shown = [f"<{form}>" for form in sorted(set(forms_of(secret)))]
    written: list[str] = []

    def prints_all(process: ScriptedProcess) -> None:
        world = worlds[0]
        world.journal.output[process.key] = tuple(shown)
        process.print(*shown)
        world.clock.call_later(1.0, lambda: process.end(1))

    worlds: list[WorkerWorld] = []

    async def story(world: WorkerWorld) -> None:
        worlds.append(world)
        world.keeper.script = prints_all
        job = {"command": shlex.join(["use", secret]), "env": {"DB_PASS": secret}}
        run = world.server.schedule(POOL, job_variables=job)
        await world.start()
        await world.until_state(run, StateType.CRASHED)
        await world.until_settled()
        await world.stop()
        assert "<********>" in message_of(world, run)
        assert any("<********>" in line.message for line in world.server.logs)
        records = repr(world.journal.records)
        assert "use ********" in records
        states = [state for known in world.server.runs.values() for state in known.history]
        written.append(repr((states, world.server.logs, world.server.events)))
        written.append(records)

    play(story)
    written.append(capsys.readouterr().out)
    assert "<********>" in written[-1]
    assert [form for form in forms_of(secret) for text in written if form in text] == []


def test_output_is_withheld_when_its_secrets_cannot_be_learned_any_more() -> None:
    async def deleted(operation: str, phase: str) -> None:
        if operation == "read_deployment":
            raise NotFound("it was deleted")

    async def story(world: WorkerWorld) -> None:
        run, process = await running(world)
        await world.kill()
        world.orchestrator.faults = deleted
        process.end(1)
        await world.start()
        await world.until_state(run, StateType.CRASHED)
        assert "is not shown here" in message_of(world, run)
        assert SECRET not in message_of(world, run)

    play(story)


@pytest.mark.parametrize("error", [Unavailable, ZeroDivisionError])
def test_an_exit_does_not_wait_for_secrets(error: type[Exception]) -> None:
    async def away(operation: str, phase: str) -> None:
        if operation == "read_deployment":
            raise error("not now")

    async def story(world: WorkerWorld) -> None:
        run, process = await running(world)
        await world.kill()
        world.orchestrator.faults = away
        process.end(3)
        await world.start(limit=1)
        await world.until(lambda: bool(process.listener))
        await asyncio.sleep(0.1)
        assert not [held for held in await world.in_hand() if held.holds_slot]
        await world.until_state(run, StateType.CRASHED)
        assert "code 3" in message_of(world, run)
        assert "is not shown here" in message_of(world, run)
        assert SECRET not in message_of(world, run)
        await world.until_settled()

    with capture_logs() as logs:
        play(story)
    events = [line["event"] for line in logs]
    said = "run.delayed" if error is Unavailable else "run.unexpected_error"
    assert events.count(said) == 1


def test_output_that_came_before_its_secrets_were_known_is_shown_masked_then() -> None:
    failures = 0

    async def away(operation: str, phase: str) -> None:
        nonlocal failures
        if operation == "read_deployment" and failures < 5:
            failures += 1
            raise Unavailable("not now")

    async def story(world: WorkerWorld) -> None:
        run, process = await running(world)
        await world.kill()
        world.orchestrator.faults = away
        await world.start()
        await world.until(lambda: bool(process.listener))
        await asyncio.sleep(60.0)
        process.end(1)
        await world.until_state(run, StateType.CRASHED)
        assert "the password is ********!" in message_of(world, run)

    with capture_logs() as logs:
        play(story)
    lines = [line["line"] for line in logs if line["event"] == "run.output"]
    assert lines[-1] == "the password is ********!"
    [known] = [line for line in logs if line["event"] == "run.resumed"]
    assert known["failures"] == 5


def test_each_new_failure_to_learn_secrets_is_said() -> None:
    failures = [Unavailable(words) for words in ("one", "two", "three", "three", "two")]

    async def away(operation: str, phase: str) -> None:
        if operation == "read_deployment" and failures:
            raise failures.pop(0)

    async def story(world: WorkerWorld) -> None:
        run, process = await running(world)
        await world.kill()
        world.orchestrator.faults = away
        await world.start()
        await world.until(lambda: not failures)
        process.end(1)
        await world.until_state(run, StateType.CRASHED)

    with capture_logs() as logs:
        play(story)
    said = [line["error"] for line in logs if line["event"] == "run.delayed"]
    assert said == ["one", "two", "three", "two"]


def test_a_pool_that_is_read_a_moment_later_is_no_complaint() -> None:
    async def story(world: WorkerWorld) -> None:
        run, process = await running(world)
        await world.kill()
        await world.start()
        await world.until(lambda: bool(process.listener))
        process.end(1)
        await world.until_state(run, StateType.CRASHED)
        assert "the password is ********!" in message_of(world, run)

    with capture_logs() as logs:
        play(story)
    assert not {"run.delayed", "run.resumed"} & {line["event"] for line in logs}
