"""Which name a worker has, and which state folder is its own.

Both follow from the server, the pool and the host, so that a restarted worker finds its runs and
is the same worker to the server. Several workers for one pool on one host are numbered: each takes
the first folder whose lock is free.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeVar

from slugify import slugify

from ..domain.errors import StateFolderError

Lock = TypeVar("Lock")

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
    identities: Iterable[WorkerIdentity], try_lock: Callable[[Path], Lock | None]
) -> tuple[WorkerIdentity, Lock]:
    """The first identity whose folder nobody holds, and the lock of that folder.

    ``try_lock`` returns None when another live worker holds the folder. StateFolderError: all are
    held.
    """
    tried: list[Path] = []
    for identity in identities:
        if (lock := try_lock(identity.folder)) is not None:
            return identity, lock
        tried.append(identity.folder)
    if len(tried) == 1:
        raise StateFolderError(
            f"Another worker that is still running holds the state folder {tried[0]}: stop it, or"
            " give this worker a folder of its own with --state-dir."
        )
    raise StateFolderError(
        f"All {len(tried)} state folders in {tried[0].parent} are held by workers that are still"
        " running: stop some, or give this worker a folder of its own with --state-dir."
    )


def _digest(text: str, length: int) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:length]
