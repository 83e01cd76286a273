"""A state folder on a disk that is full."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from actors.domain.errors import StateFolderError
from actors.domain.model import StateType
from tests.integration.processes.kit import on_loop
from tests.integration.worker.kit import Workshop


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """An empty disk of 256 KiB where the workshop has its state folder."""
    folder = tmp_path / "state"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=256k", "none", str(folder)]
    if os.geteuid() != 0 or subprocess.run(mount, check=False, capture_output=True).returncode:
        pytest.skip("mounting a disk is not allowed here")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def fill(disk: Path) -> Path:
    """Leave no room; the file that takes it."""
    path = disk / "filler"
    with path.open("wb", buffering=0) as filler, suppress(OSError):
        while filler.write(b"x" * 1024):
            pass
    return path


@on_loop
async def test_a_full_disk_costs_output_and_no_run(
    small_disk: Path, workshop: Workshop, capsys: pytest.CaptureFixture[str]
) -> None:
    run = workshop.run(
        'echo before; echo $$ > "$1"/pid; until [ -e "$1"/gate ]; do sleep 0.02; done; '
        "i=0; while [ $i -lt 20000 ]; do echo 0123456789; i=$((i+1)); done; exit 3"
    )
    async with workshop.worker():
        await workshop.written("pid")
        await workshop.until(lambda: workshop.server.run(run).run.infrastructure_pid)
        filler = fill(small_disk)
        (workshop.folder / "gate").touch()
        assert "exited with code 3" in await workshop.crashed(run)
        filler.unlink()
        after = workshop.run("true", report_states=True)
        await workshop.until(lambda: StateType.COMPLETED in workshop.server.types_of(after))
    assert "journal.failed" in capsys.readouterr().out


def test_a_disk_that_cannot_be_written_is_said_in_words(
    small_disk: Path, workshop: Workshop
) -> None:
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)

    @on_loop
    async def start() -> None:
        async with workshop.worker():
            raise AssertionError("it has started")

    with pytest.raises(StateFolderError, match=r"Read-only file system.*--state-dir"):
        start()
