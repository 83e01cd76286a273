"""Which name a worker carries and which folder is its own.

Both follow from the server, the pool and the host, so that a restarted worker finds its runs
again and is the same worker to the server. Two workers for one pool on one host take numbers: the
first that finds a folder's lock free takes it. What may be taken is pure data here; the lock is
passed in.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeVar

from slugify import slugify

from ..domain.errors import SettingsError, StateFolderError

Lock = TypeVar("Lock")

MOST_WORKERS: Final = 1000
"""Workers for one pool on one host; more of them are a mistake, not a wish."""

_LONGEST_SLUG: Final = 24
"""Characters. The keeper's socket lies below the folder, and a Unix socket's path has at most 107
of them (unix(7))."""


@dataclass(frozen=True, slots=True)
class Seat:
    """A worker name together with the state folder that goes with it."""

    name: str
    folder: Path


def check_name(name: str) -> str:
    """``name`` if Prefect's server can address a worker by it; SettingsError otherwise."""
    if not name.strip():
        raise SettingsError("The worker's name is empty: choose one with --name.")
    if wrong := next((character for character in "/%" if character in name), None):
        raise SettingsError(
            f"The worker's name {name!r} contains {wrong!r}, which the server's addresses cannot"
            " carry: choose one without '/' and '%'."
        )
    return name


def seats(
    *,
    api_url: str,
    pool: str,
    host: str,
    base: Path,
    name: str | None = None,
    state_dir: Path | None = None,
) -> Iterator[Seat]:
    """The seats a worker may take, in the order in which it should try them.

    ``base`` is the user's folder for state. With a ``name`` all seats carry it. A ``state_dir``
    is the only seat; without a name, one is made that is as stable as the folder's path.
    """
    if name is not None:
        check_name(name)
    default = host.replace("/", "-").replace("%", "-") or "worker"
    if state_dir is not None:
        yield Seat(name or f"{default}-{_digest(str(state_dir.absolute()), 4)}", state_dir)
        return
    identity = "\n".join([api_url.rstrip("/").lower(), pool, host, name or ""])
    family = f"{slugify(name or pool, max_length=_LONGEST_SLUG)}-{_digest(identity, 8)}"
    for number in range(1, MOST_WORKERS + 1):
        numbered = default if number == 1 else f"{default}-{number}"
        yield Seat(name or numbered, base / family / str(number))


def take_seat(seats: Iterable[Seat], try_lock: Callable[[Path], Lock | None]) -> tuple[Seat, Lock]:
    """The first seat whose folder nobody holds, and its lock.

    ``try_lock`` answers None when another live worker holds the folder. StateFolderError: all of
    them are held.
    """
    tried: list[Path] = []
    for seat in seats:
        if (lock := try_lock(seat.folder)) is not None:
            return seat, lock
        tried.append(seat.folder)
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
