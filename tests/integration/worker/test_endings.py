"""How runs end, and what is left of them, with the real keeper through the whole worker."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

import pytest

from actors.domain.ids import FlowRunId
from actors.domain.model import StateType
from actors.keeper import procfs
from tests.integration.keeper.kit import ended, keepers_of, on_loop
from tests.integration.worker.kit import Workshop

DAEMON = "setsid sh -c 'echo $$ > $0/daemon; exec sleep 1000' \"$1\" & "
WRITTEN = 'until [ -s "$1"/daemon ]; do sleep 0.02; done; '
GATED = 'echo $$ > "$1"/pid; until [ -e "$1"/gate ]; do sleep 0.02; done; exit 3'


async def pid_in(workshop: Workshop, name: str) -> int:
    [line] = await workshop.written(name)
    return int(line)


@on_loop
async def test_a_daemon_that_a_run_leaves_is_ended_and_holds_no_slot(workshop: Workshop) -> None:
    async with workshop.worker(limit=1):
        run = workshop.run(DAEMON + WRITTEN, report_states=True)
        await workshop.until(lambda: StateType.COMPLETED in workshop.server.types_of(run))
        assert ended(await pid_in(workshop, "daemon"))
        words = "Ended 1 process(es) that this flow run had left behind."
        await workshop.until(lambda: words in workshop.log_of(run))
        after = workshop.run("true", report_states=True)
        await workshop.until(lambda: StateType.COMPLETED in workshop.server.types_of(after))


@on_loop
async def test_a_daemon_may_live_where_leftovers_are_not_ended(workshop: Workshop) -> None:
    async with workshop.worker(limit=1, end_leftovers=False, embedded=False) as system:
        run = workshop.run(DAEMON + WRITTEN, report_states=True)
        await workshop.until(lambda: StateType.COMPLETED in workshop.server.types_of(run))
        daemon = await pid_in(workshop, "daemon")
        after = workshop.run("true", report_states=True)
        await workshop.until(lambda: StateType.COMPLETED in workshop.server.types_of(after))
        system.drain()
        await system.wait()
        found = procfs.stat(daemon)
        assert found is not None
        assert found.alive
    os.kill(daemon, signal.SIGKILL)
    assert ended(daemon)


async def left_running(workshop: Workshop) -> tuple[FlowRunId, int]:
    """A run that a worker has left to the keeper: its id and its pid."""
    run = workshop.run(GATED)
    async with workshop.worker(embedded=False):
        pid = await pid_in(workshop, "pid")
        await workshop.until(lambda: workshop.server.run(run).run.infrastructure_pid)
    return run, pid


def kill_keeper(workshop: Workshop) -> None:
    [keeper] = keepers_of(workshop.state)
    os.kill(keeper, signal.SIGKILL)
    assert ended(keeper)


def process_file(workshop: Workshop) -> Path:
    [path] = workshop.state.runs.glob("*/process.json")
    return path


@on_loop
async def test_a_run_that_was_left_is_taken_up_with_its_real_exit_code(workshop: Workshop) -> None:
    run, pid = await left_running(workshop)
    async with workshop.worker(embedded=False) as system:
        assert [situation.run.id for situation in await system.runs()] == [run]
        (workshop.folder / "gate").touch()
        assert "exited with code 3" in await workshop.crashed(run)
    assert ended(pid)


@on_loop
async def test_after_a_restart_of_the_machine_nothing_is_signalled(workshop: Workshop) -> None:
    run, pid = await left_running(workshop)
    kill_keeper(workshop)
    path = process_file(workshop)
    identity = json.loads(path.read_text())
    path.write_text(path.read_text().replace(identity["boot_id"], "before-the-restart"))
    async with workshop.worker(embedded=False):
        assert "machine or container was restarted" in await workshop.crashed(run)
        found = procfs.stat(pid)
        assert found is not None
        assert found.alive  # for this worker it is somebody else's
    os.kill(pid, signal.SIGKILL)
    assert ended(pid)


@on_loop
async def test_the_exit_code_is_lost_with_the_keeper_and_not_guessed(workshop: Workshop) -> None:
    run = workshop.run(GATED)
    async with workshop.worker(embedded=False):
        await pid_in(workshop, "pid")
        await workshop.until(lambda: workshop.server.run(run).run.infrastructure_pid)
        kill_keeper(workshop)
        (workshop.folder / "gate").touch()
        message = await workshop.crashed(run)
        assert "code 3" not in message
        assert "exit code" in message
        after = workshop.run("true", report_states=True)
        await workshop.until(lambda: StateType.COMPLETED in workshop.server.types_of(after))


@on_loop
async def test_a_corrupt_record_is_put_aside_and_costs_no_other_run(
    workshop: Workshop, capsys: pytest.CaptureFixture[str]
) -> None:
    run, pid = await left_running(workshop)
    other = workshop.state.runs / "other"
    other.mkdir()
    (other / "run.json").write_text("{ not json")
    async with workshop.worker(embedded=False):
        (workshop.folder / "gate").touch()
        assert "exited with code 3" in await workshop.crashed(run)
        assert (other / "run.json.corrupt").exists()
    assert ended(pid)
    assert "journal.quarantined" in capsys.readouterr().out
