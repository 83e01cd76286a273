"""The programmatic interface of Prefect 3.0's process worker, with real processes."""

from __future__ import annotations

import asyncio
import os
import socket
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

import psutil
import pytest

from actors import ProcessWorker
from actors.domain.errors import (
    CouldNotStart,
    InfrastructureNotAvailable,
    InfrastructureNotFound,
    KeeperError,
    SettingsError,
)
from actors.job.configuration import ProcessJobConfiguration
from actors.journal.state_folder import StateFolder
from actors.prefect_api.settings.profile import load_profile
from tests.integration.keeper.scripted_keeper import scripted_keeper
from tests.support.builders import a_run
from tests.support.on_loop import on_loop

PATIENCE_SECONDS = 60.0


def within(folder: Path, story: Callable[[ProcessWorker], Awaitable[None]]) -> None:
    async def tell() -> None:
        async with asyncio.timeout(PATIENCE_SECONDS):
            async with a_worker(folder) as worker:
                await story(worker)

    asyncio.run(tell())


def a_worker(folder: Path) -> ProcessWorker:
    # Nothing is asked of the server: none listens there.
    server = {"PREFECT_API_URL": "http://127.0.0.1:9/api"}
    prefect = load_profile(server, cwd=folder, home=folder)
    return ProcessWorker(
        "pool", state_dir=folder / "state", python=sys.executable, prefect=prefect
    )


class Started:
    def __init__(self) -> None:
        self.value: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    def started(self, value: str) -> None:
        self.value.set_result(value)


@pytest.mark.parametrize(("command", "code"), [("true", 0), ("sh -c 'exit 3'", 3)])
def test_a_result_is_true_on_exit_code_0_and_has_identifier_and_status_code(
    tmp_path: Path, command: str, code: int
) -> None:
    async def story(worker: ProcessWorker) -> None:
        status = Started()
        configuration = ProcessJobConfiguration(command=command)
        result = await worker.run(a_run(), configuration, task_status=status)
        assert bool(result) == (code == 0)
        assert result.status_code == code
        assert status.value.result() == f"{socket.gethostname()}:{result.identifier}"

    within(tmp_path, story)


def test_a_command_that_cannot_be_started_says_why(tmp_path: Path) -> None:
    async def story(worker: ProcessWorker) -> None:
        with pytest.raises(CouldNotStart, match="frobnicate"):
            await worker.run(a_run(), ProcessJobConfiguration(command="frobnicate"))

    within(tmp_path, story)


def test_a_process_of_ours_is_killed_after_its_grace_period(tmp_path: Path) -> None:
    deaf = tmp_path / "deaf"

    async def story(worker: ProcessWorker) -> None:
        status = Started()
        configuration = ProcessJobConfiguration(
            command=f"""sh -c "trap '' TERM; echo > {deaf}; while :; do sleep 1; done" """
        )
        run = asyncio.create_task(worker.run(a_run(), configuration, task_status=status))
        while not deaf.exists():  # noqa: ASYNC110  files do not tell
            await asyncio.sleep(0.02)
        await worker.kill_process(await status.value, grace_seconds=0.2)
        result = await run
        assert result.status_code == -9
        assert not psutil.pid_exists(int(result.identifier))

    within(tmp_path, story)


def test_what_is_not_there_is_not_found_and_what_is_not_ours_is_not_available(
    tmp_path: Path,
) -> None:
    async def story(worker: ProcessWorker) -> None:
        host = socket.gethostname()
        with pytest.raises(InfrastructureNotFound):
            await worker.kill_process(f"{host}:{2**22 + 1}")
        with pytest.raises(InfrastructureNotAvailable, match="elsewhere"):
            await worker.kill_process("elsewhere:1")
        with pytest.raises(InfrastructureNotAvailable, match="not started by this worker"):
            await worker.kill_process(f"{host}:{os.getpid()}")

    within(tmp_path, story)


def test_its_class_introduces_itself_as_the_seed_does() -> None:
    assert ProcessWorker.type == "process"
    assert ProcessWorker.get_display_name() == "Process"
    assert ProcessWorker.get_description().endswith(".")
    assert ProcessWorker.get_documentation_url().startswith("https://docs.prefect.io/")
    assert ProcessWorker.get_logo_url().startswith("https://")
    template = ProcessWorker.get_default_base_job_template()
    assert set(template) == {"job_configuration", "variables"}
    variables = ProcessWorker.job_configuration_variables.model_json_schema()
    assert template["variables"]["properties"] == variables["properties"]


def test_it_does_not_pretend_to_submit_flows() -> None:
    """What is experimental in 3.8 needs Prefect and the flow itself in the worker's process."""
    assert not hasattr(ProcessWorker, "submit")


def test_a_name_that_no_server_can_address_is_refused() -> None:
    with pytest.raises(SettingsError, match="%"):
        ProcessWorker("pool", name="50%")


@on_loop
async def test_a_run_whose_keeper_is_taken_over_ends_with_an_error(tmp_path: Path) -> None:
    state = StateFolder(tmp_path / "state")
    state.prepare()
    async with scripted_keeper(state) as keeper:
        keeper.greeting["embedded"] = keeper.starts_runs = True
        async with a_worker(tmp_path) as worker, asyncio.timeout(PATIENCE_SECONDS):
            status = Started()
            command = ProcessJobConfiguration(command="true")
            running = asyncio.create_task(worker.run(a_run(), command, task_status=status))
            await status.value
            keeper.tell({"fact": "replaced"})
            with pytest.raises(KeeperError, match="taken over"):
                await running
            with pytest.raises(KeeperError, match="taken over"):
                await worker.run(a_run(), command)
            keeper.hang_up()


@on_loop
async def test_a_run_that_is_left_behind_ends_with_the_block(tmp_path: Path) -> None:
    async with asyncio.timeout(PATIENCE_SECONDS):
        async with a_worker(tmp_path) as worker:
            status = Started()
            command = ProcessJobConfiguration(command="sleep 600")
            running = asyncio.create_task(worker.run(a_run(), command, task_status=status))
            await status.value
        result = await running
        assert result.status_code == -15


@on_loop
async def test_a_run_whose_end_nobody_tells_ends_with_an_error(tmp_path: Path) -> None:
    state = StateFolder(tmp_path / "state")
    state.prepare()
    async with scripted_keeper(state) as keeper:
        keeper.greeting["embedded"] = keeper.starts_runs = keeper.leaves_when_told_to_end = True
        async with asyncio.timeout(PATIENCE_SECONDS):
            async with a_worker(tmp_path) as worker:
                status = Started()
                command = ProcessJobConfiguration(command="true")
                running = asyncio.create_task(worker.run(a_run(), command, task_status=status))
                await status.value
            with pytest.raises(KeeperError, match="closed"):
                await running
