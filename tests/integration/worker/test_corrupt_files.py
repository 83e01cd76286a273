"""What a broken disk has made of one run's files costs no other run, and never the worker."""

from __future__ import annotations

import os
import signal

import pytest

from actors.domain.model import StateType
from actors.keeper.constants import EXIT_FILE, PROCESS_FILE
from tests.integration.keeper.kit import ended, keepers_of, marked, on_loop
from tests.integration.worker.kit import Workshop

CONTENTS = {
    "cut off": b'{"format": 1, "key": "x", "pid"',
    "empty": b"",
    "zeros": b"\0" * 512,
    "a list": b"[1, 2]",
    "wrong types": b'{"format": 1, "key": 3, "pid": "7", "code": "x", "record": 5}',
}


@pytest.mark.parametrize("content", CONTENTS.values(), ids=list(CONTENTS))
@pytest.mark.parametrize("name", ["run.json", PROCESS_FILE, EXIT_FILE])
@on_loop
async def test_the_worker_starts_and_the_other_runs_go_on(
    workshop: Workshop, name: str, content: bytes
) -> None:
    waits = 'echo $$ > "$1"/{0}; until [ -e "$1"/gate ]; do sleep 0.02; done; exit 3'
    async with workshop.worker(embedded=False):
        harmed = workshop.run(waits.format("harmed"))
        [pid] = await workshop.written("harmed")
        whole = workshop.run(waits.format("whole"))
        await workshop.written("whole")
        runs = [workshop.server.run(run) for run in (harmed, whole)]
        await workshop.until(lambda: all(run.run.infrastructure_pid for run in runs))
    [keeper] = keepers_of(workshop.state)  # or it would still know all that is in the files
    os.kill(keeper, signal.SIGKILL)
    assert ended(keeper)
    [folder] = workshop.state.runs.glob(f"{harmed}.*")
    (folder / name).write_bytes(content)
    async with workshop.worker(embedded=False):
        (workshop.folder / "gate").touch()
        assert "exit code" in await workshop.crashed(whole)
        after = workshop.run("true", report_states=True)
        await workshop.until(lambda: StateType.COMPLETED in workshop.server.types_of(after))
    assert ended(int(pid))
    assert marked([folder.name]) == []
