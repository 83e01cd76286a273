"""Which name a worker has, and which state folder is its own.

Both follow from the server, the pool and the host, so that a restarted worker finds its runs and
is the same worker to the server. Several workers for one pool on one host are numbered: each takes
the first folder whose lock is free.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from slugify import slugify

from ..domain.errors import StateFolderError
from ..journal.state_folder import StateFolder

MOST_WORKERS: Final = 1000
"""Workers for one pool on one host; more of them are a mistake."""

_LONGEST_SLUG: Final = 24
"""Characters. The keeper's socket lies below the folder, and the path of a Unix socket has at most
107 of them (unix(7))."""


@dataclass(frozen=True, slots=True)
class WorkerIdentity:
    """A worker's name and its state folder."""

    name: str
    folder: Path


def identities(
    *,
    api_url: str,
    pool: str,
    host: str,
    base: Path,
    name: str | None = None,
    state_dir: Path | None = None,
) -> Iterator[WorkerIdentity]:
    """The identities that a worker may take, in the order in which it should try them.

    ``base`` is the user's folder for state. With a ``name`` all identities carry it. A
    ``state_dir`` leaves one identity; without a name, its name follows from the folder's path.
    """
    default = host.replace("/", "-").replace("%", "-") or "worker"
    if state_dir is not None:
        numbered = f"{default}-{_digest(str(state_dir.absolute()), 4)}"
        yield WorkerIdentity(name or numbered, state_dir)
        return
    key = "\n".join([api_url.rstrip("/").lower(), pool, host, name or ""])
    family = f"{slugify(name or pool, max_length=_LONGEST_SLUG)}-{_digest(key, 8)}"
    for number in range(1, MOST_WORKERS + 1):
        numbered = default if number == 1 else f"{default}-{number}"
        yield WorkerIdentity(name or numbered, base / family / str(number))


def acquire_identity(
    candidates: Sequence[WorkerIdentity], lock: int | None = None
) -> tuple[str, StateFolder]:
    """The name of the first candidate whose folder nobody holds, and that folder, locked.

    ``lock`` is the lock that the program before a re-exec handed over: the candidate whose folder
    it holds is taken. It is released when the settings have changed so that there is none.

    StateFolderError: all folders are held by other workers.
    """
    if lock is not None:
        for candidate in candidates:
            if (folder := StateFolder(candidate.folder)).take_over(lock):
                return candidate.name, folder
        os.close(lock)
    for candidate in candidates:
        if (folder := StateFolder(candidate.folder)).try_lock():
            return candidate.name, folder
    raise StateFolderError(
        f"All state folders that this worker may use ({len(candidates)}; the first is"
        f" {candidates[0].folder}) are held by workers that are still running: stop one, or give"
        " this worker a folder of its own with --state-dir."
    )


def _digest(text: str, length: int) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:length]
