"""Starts a keeper and waits until it listens."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from ..domain.errors import KeeperError
from ..keeper.constants import BUSY, LOG, READY
from ..keeper.files import open_own, read_own
from .connection import ANSWER_SECONDS

_PROGRAM = Path(__file__).parents[1] / "keeper"
_PASSED_ON = ("PATH", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "TMPDIR")
"""What an interpreter needs to start. Others may hold secrets, and a keeper lives long."""

START_SECONDS = 30.0
"""A busy machine starts an interpreter within a second; one that swaps takes longer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KeeperOptions:
    """How a new keeper behaves."""

    linger_seconds: float = 30.0
    """Without runs and without a worker, it ends after so long."""
    embedded: bool = False
    """It ends with this worker's connection, after its runs."""
    end_grace_seconds: float = 5.0
    """Embedded: seconds between SIGTERM and SIGKILL at its end."""
    answer_seconds: float = ANSWER_SECONDS
    """A request without an answer fails after so long."""


async def start_keeper(folder: Path, options: KeeperOptions) -> bool:
    """Starts a keeper on ``folder``; False when there is one already.

    Raises KeeperError when it cannot be started.
    """
    try:
        said = await asyncio.to_thread(_launch, folder, options)
    except subprocess.TimeoutExpired:
        raise KeeperError(f"The keeper did not start within {START_SECONDS:.0f} s.") from None
    except OSError as error:
        raise KeeperError(f"The keeper cannot be started: {error}.") from error
    if said not in (READY, BUSY):
        raise KeeperError(f"The keeper ended at its start. Its log says: {_last_words(folder)}")
    return said == READY


def _launch(folder: Path, options: KeeperOptions) -> bytes:
    given = {
        "state": str(folder),
        "linger": options.linger_seconds,
        "embedded": options.embedded,
        "grace": options.end_grace_seconds,
    }
    log = open_own(str(folder / LOG), os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    try:
        return subprocess.run(
            [sys.executable, "-I", "-S", "-X", "utf8", str(_PROGRAM), json.dumps(given)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=log,
            cwd="/",
            env={name: os.environ[name] for name in _PASSED_ON if name in os.environ},
            timeout=START_SECONDS,
            check=False,
        ).stdout
    finally:
        os.close(log)


def _last_words(folder: Path) -> str:
    with contextlib.suppress(OSError):
        lines = read_own(str(folder / LOG)).decode("utf-8", "replace").splitlines()
        return " / ".join(lines[-3:]) or "nothing"
    return "nothing"
