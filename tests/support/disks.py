"""Disks that are small, or that turn read-only under those who write to them."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest


def _mount(*arguments: str) -> None:
    """Skips where mounting is not allowed."""
    command = ["mount", *arguments]
    if os.geteuid() != 0 or subprocess.run(command, check=False, capture_output=True).returncode:
        pytest.skip("mounting a disk is not allowed here")


def _unmount(folder: Path) -> None:
    subprocess.run(["umount", "-l", str(folder)], check=True)


@contextmanager
def small_disk(folder: Path) -> Iterator[None]:
    """An empty disk of 256 KiB at ``folder``."""
    folder.mkdir()
    _mount("-t", "tmpfs", "-o", "size=256k", "none", str(folder))
    try:
        yield
    finally:
        _unmount(folder)


@contextmanager
def full(disk: Path) -> Iterator[None]:
    """No room on ``disk``."""
    path = disk / "filler"
    with path.open("wb", buffering=0) as filler, suppress(OSError):
        while filler.write(b"x" * 1024):
            pass
    try:
        yield
    finally:
        path.unlink()


@contextmanager
def read_only(folder: Path) -> Iterator[None]:
    """Nothing in ``folder`` can be opened for writing, created or removed, not even by root.

    A file system with open files does not let itself be made read-only, unless it breaks: so what
    it refuses is mounted over it.
    """
    _mount("-o", "bind,ro", str(folder), str(folder))
    try:
        yield
    finally:
        _unmount(folder)
