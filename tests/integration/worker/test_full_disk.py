"""A state folder on a disk that is full, or that turns read-only, while the worker runs."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from actors.domain.errors import StateFolderError
from actors.domain.ids import FlowRunId
from actors.domain.model import StateType
from actors.keeper.constants import EXIT_FILE
from tests.integration.keeper.kit import on_loop
from tests.integration.worker.kit import Workshop
from tests.support.disks import full, read_only, small_disk

LINE = "0123456789"
LINES = 20_000

Trouble = Callable[[Path], AbstractContextManager[None]]
TROUBLES = {"full": full, "read-only": read_only}


@pytest.fixture
def disk(workshop: Workshop) -> Iterator[Path]:
    """A small disk where the workshop has its state folder."""
    with small_disk(workshop.state.path):
        yield workshop.state.path


def runs_of(disk: Path) -> Path:
    """The folder whose troubles are of interest: what is locked and listened at stays."""
    folder = disk / "runs"
    folder.mkdir(exist_ok=True)
    return folder


def waits_for(name: str) -> str:
    return f'until [ -e "$1"/{name} ]; do sleep 0.02; done; '


PRINTS_MUCH = f"i=0; while [ $i -lt {LINES} ]; do echo {LINE}; i=$((i+1)); done; "


async def started(workshop: Workshop, run: FlowRunId) -> None:
    """Wait until the run goes on and its process is known at the server."""
    await workshop.written("pid")
    await workshop.until(lambda: workshop.server.run(run).run.infrastructure_pid)


async def until_said(workshop: Workshop, capsys: pytest.CaptureFixture[str], *events: str) -> None:
    """Wait until the worker's log tells one of the events."""
    said = ""

    def heard() -> bool:
        nonlocal said
        said += capsys.readouterr().out
        return any(event in said for event in events)

    await workshop.until(heard)


@pytest.mark.parametrize("trouble", TROUBLES.values(), ids=list(TROUBLES))
@on_loop
async def test_it_costs_output_and_no_run(
    disk: Path, workshop: Workshop, trouble: Trouble, capsys: pytest.CaptureFixture[str]
) -> None:
    script = 'echo $$ > "$1"/pid; ' + waits_for("gate") + PRINTS_MUCH + "exit 3"
    async with workshop.worker():
        run = workshop.run(script)
        await started(workshop, run)
        with trouble(runs_of(disk)):
            (workshop.folder / "gate").touch()
            assert "exited with code 3" in await workshop.crashed(run)
        [exit_file] = await workshop.until(lambda: [*disk.glob(f"runs/*/{EXIT_FILE}")])
        assert '"code": 3' in exit_file.read_text()
        after = workshop.run("echo recovered", report_states=True)
        await workshop.until(lambda: StateType.COMPLETED in workshop.server.types_of(after))
    log = capsys.readouterr().out
    lines = [line for line in log.splitlines() if run in line]
    assert len([line for line in lines if "journal.failed" in line]) == 1
    shown = len([line for line in lines if f"line={LINE}" in line])
    dropped = [int(found[1]) for line in lines if (found := re.search(r"bytes=(\d+)", line))]
    counted = shown * len(f"{LINE}\n") + sum(dropped)
    printed = LINES * len(f"{LINE}\n")
    assert dropped
    assert printed - 100 < counted <= printed  # but for lines of which a part was lost
    assert "line=recovered" in log


@pytest.mark.parametrize("trouble", TROUBLES.values(), ids=list(TROUBLES))
@on_loop
async def test_a_run_that_outlives_it_is_written_down_again(
    disk: Path, workshop: Workshop, trouble: Trouble, capsys: pytest.CaptureFixture[str]
) -> None:
    script = 'echo $$ > "$1"/pid; ' + waits_for("gate") + PRINTS_MUCH
    script += 'echo $$ > "$1"/printed; until [ -e "$1"/end ]; do echo again; sleep 0.05; done'
    async with workshop.worker(embedded=False):
        run = workshop.run(script + "; exit 3")
        await started(workshop, run)
        with trouble(runs_of(disk)):
            (workshop.folder / "gate").touch()
            await workshop.written("printed")
        await until_said(workshop, capsys, "line=again")
    async with workshop.worker(embedded=False):
        (workshop.folder / "end").touch()
        message = await workshop.crashed(run)
        assert "exited with code 3" in message
        assert "again" in message


@pytest.mark.parametrize("trouble", TROUBLES.values(), ids=list(TROUBLES))
@on_loop
async def test_a_run_that_comes_meanwhile_waits_for_its_end(
    disk: Path, workshop: Workshop, trouble: Trouble, capsys: pytest.CaptureFixture[str]
) -> None:
    """Else a worker with a full disk would make all that is due crash, one after the other."""
    async with workshop.worker(limit=1):
        with trouble(runs_of(disk)):
            run = workshop.run("true", report_states=True)
            await until_said(workshop, capsys, "intake.paused", "run.delayed")
        await workshop.until(lambda: StateType.COMPLETED in workshop.server.types_of(run))
    assert StateType.CRASHED not in workshop.server.types_of(run)


@pytest.mark.parametrize("trouble", TROUBLES.values(), ids=list(TROUBLES))
@on_loop
async def test_an_end_that_was_reported_meanwhile_is_not_reported_again(
    disk: Path, workshop: Workshop, trouble: Trouble
) -> None:
    async with workshop.worker(embedded=False):
        run = workshop.run('echo $$ > "$1"/pid; ' + waits_for("gate") + "exit 3")
        await started(workshop, run)
        with trouble(runs_of(disk)):
            (workshop.folder / "gate").touch()
            await workshop.crashed(run)
    told = len(workshop.server.run(run).history)
    async with workshop.worker(embedded=False) as system:
        await workshop.until(lambda: [*disk.glob("runs/*/settled")])
        system.drain()
        await system.wait()
    assert len(workshop.server.run(run).history) == told


def test_a_disk_that_cannot_be_written_is_said_in_words(disk: Path, workshop: Workshop) -> None:
    subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)

    @on_loop
    async def start() -> None:
        async with workshop.worker():
            raise AssertionError("it has started")

    with pytest.raises(StateFolderError, match=r"Read-only file system.*--state-dir"):
        start()
