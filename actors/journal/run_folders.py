"""The ``runs`` folder: a folder per claim, holding its record, its process and its output.

``run.json`` is the record. ``settled`` (empty) says that nothing is left to do; the folder may be
pruned then. The other files are the keeper's.

Two records survive a power cut: the one before the claim, without which the run would stay Pending
for ever, and the one before the start. They are synchronized (fsync(2)) with their folder, and for
a new claim with the ``runs`` folder: about 25 ms on a virtual disk. All other records follow from
these, from the keeper's files and from the server's state, and are written in 0.1 ms. A power cut
may leave them empty; then ``run.json.sure`` is read, a link to the last sure record.

Every call blocks for as long as the disk does.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any

import structlog
from pydantic import TypeAdapter

from ..domain.errors import StateFolderError
from ..domain.ids import ClaimKey, claim_of_hooks
from ..domain.record import Phase, RunRecord
from ..keeper import files
from ..keeper.constants import EXIT_FILE, PROCESS_FILE

FORMAT = 1
"""Version of ``run.json``. A newer one is refused."""

RECORD_FILE = "run.json"
SURE_FILE = "run.json.sure"
SURE_PHASES = {Phase.CLAIMING, Phase.SPAWNING}
SETTLED_FILE = "settled"
PROBE_FILE = "room"
PROBE_BYTES = 64 * 1024
"""More than the files of a run need before its first output."""
CORRUPT_SUFFIX = ".corrupt"

_NEW = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
_RECORD: TypeAdapter[RunRecord] = TypeAdapter(RunRecord)
_STRAY_SECONDS = 3600.0
"""A folder without record or process belongs to no claim after so long."""

_log: structlog.typing.FilteringBoundLogger = structlog.get_logger(__name__)


@dataclass(slots=True)
class Save:
    """A record to write, and afterwards the error, if any."""

    record: RunRecord
    is_last: bool = False
    """Whether its claim is settled. Without a reason it never was ours, and nothing is kept."""
    error: Exception | None = None

    @property
    def is_kept(self) -> bool:
        """Whether anything is left of it."""
        return not self.is_last or self.record.reason is not None

    @property
    def is_sure(self) -> bool:
        """Whether a power cut must not undo it."""
        return self.record.phase in SURE_PHASES and self.is_kept


class RunFolders:
    """``sync`` returns when the file or folder of a path is on the disk, or raises OSError."""

    def __init__(self, path: Path, sync: Callable[[str], None] = files.sync) -> None:
        self.path = path
        self._sync = sync

    def check(self) -> None:
        """Writes a file, to find out if there is room for records. StateFolderError: no."""
        probe = self.path / PROBE_FILE
        try:
            try:
                with open(files.open_own(str(probe), _NEW), "wb") as file:
                    file.write(bytes(PROBE_BYTES))
            finally:
                probe.unlink(missing_ok=True)
        except OSError as error:
            raise _unusable(self.path, error) from error

    def make(self, key: ClaimKey) -> Path:
        """Creates the claim's folder if it is missing. StateFolderError: it cannot be created."""
        path = self.path / key
        try:
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise _unusable(path, error) from error
        return path

    def save(self, saves: Sequence[Save]) -> None:
        """Writes records of different claims. What fails is noted in ``error`` and stops no other.

        Many records cost little more than one: all are written before the first is synchronized,
        since a journaling file system writes the others along with it, and ``runs`` is
        synchronized once for all new claims. A record has its name, and its folder is in ``runs``,
        before it becomes the sure one.
        """
        kept = [save for save in saves if save.is_kept]
        sure = [save for save in kept if save.is_sure]
        new = [save for save in sure if not os.path.exists(self._folder(save) / SURE_FILE)]
        sync_runs = cache(partial(self._sync, str(self.path)))
        self._each(kept, self._write_draft)
        self._each(sure, lambda save: self._sync(str(self._draft(save))))
        self._each(kept, self._publish)
        self._each(sure, lambda save: self._sync(str(self._folder(save))))
        self._each(new, lambda _: sync_runs())
        self._each(sure, self._link_as_sure)
        self._each([save for save in saves if save.is_last], self._settle)

    def _each(self, saves: Iterable[Save], act: Callable[[Save], object]) -> None:
        """Applies ``act`` to all saves that have not failed yet."""
        for save in saves:
            if save.error is None:
                try:
                    act(save)
                except OSError as error:
                    save.error = _unusable(self._folder(save), error)
                    with contextlib.suppress(OSError):
                        self._draft(save).unlink()
                except Exception as error:
                    save.error = error

    def _folder(self, save: Save) -> Path:
        return self.path / save.record.key

    def _draft(self, save: Save) -> Path:
        return self._folder(save) / f"{RECORD_FILE}.{os.getpid()}.new"

    def _write_draft(self, save: Save) -> None:
        self._folder(save).mkdir(mode=0o700, parents=True, exist_ok=True)
        content = {"format": FORMAT, "record": _RECORD.dump_python(save.record, mode="json")}
        files.write(str(self._draft(save)), content)

    def _publish(self, save: Save) -> None:
        self._draft(save).replace(self._folder(save) / RECORD_FILE)

    def _link_as_sure(self, save: Save) -> None:
        """If the link is lost, the former or ``run.json`` itself is the sure record."""
        folder = self._folder(save)
        draft = folder / f"{SURE_FILE}.{os.getpid()}.new"
        draft.unlink(missing_ok=True)
        os.link(folder / RECORD_FILE, draft)
        draft.replace(folder / SURE_FILE)

    def _settle(self, save: Save) -> None:
        if save.is_kept:
            path = self._folder(save) / SETTLED_FILE
            os.close(files.open_own(str(path), _NEW))
        else:
            _remove(self._folder(save))

    def read(self, key: ClaimKey) -> RunRecord | None:
        """Returns None where there is none. A corrupt one is quarantined.

        StateFolderError: a newer version wrote it.
        """
        folder = self.path / key
        return self._read(folder / RECORD_FILE) or self._read(folder / SURE_FILE)

    def read_all(self) -> list[RunRecord]:
        """Returns all records that are not settled. StateFolderError: as ``read``."""
        opened = (folder for folder in self._folders() if not _settled(folder))
        found = (self.read(ClaimKey(folder.name)) for folder in opened)
        return [record for record in found if record is not None]

    def prune(self, now: float, keep_seconds: float, keep_count: int) -> int:
        """Removes settled claims that are too old at ``now`` (seconds since the epoch).

        Also removes all but the newest ``keep_count``. Returns how many were removed.
        """
        newest_first = sorted((now - _time_of(folder), folder) for folder in self._folders())
        settled = [(age, folder) for age, folder in newest_first if _settled(folder)]
        removable = [
            folder
            for place, (age, folder) in enumerate(settled)
            if place >= keep_count or age > keep_seconds
        ]
        stray_seconds = max(_STRAY_SECONDS, keep_seconds)
        removable += [path for age, path in newest_first if age > stray_seconds and _stray(path)]
        removed = sum(map(_remove, removable))
        hooks = [path for path in self._folders() if _outlives_its_claim(path)]
        return removed + sum(map(_remove, hooks))

    def _folders(self) -> list[Path]:
        try:
            return sorted(path for path in self.path.iterdir() if files.is_own_folder(str(path)))
        except FileNotFoundError:
            return []
        except OSError as error:
            raise _unusable(self.path, error) from error

    def _read(self, path: Path) -> RunRecord | None:
        try:
            content = json.loads(files.read_own(str(path)))
            _check_format(path, content)
            return _RECORD.validate_python(content["record"], strict=False)
        except FileNotFoundError:
            return None
        except OSError as error:
            _log.error("journal.unreadable", file=str(path), error=str(error))
        except (ValueError, LookupError, TypeError, RecursionError) as error:
            aside = path.with_name(path.name + CORRUPT_SUFFIX)
            _log.error("journal.quarantined", file=str(aside), error=str(error).splitlines()[0])
            with contextlib.suppress(OSError):
                path.replace(aside)
        return None


def _check_format(path: Path, content: Any) -> None:
    version = content["format"]
    if isinstance(version, int) and version > FORMAT:
        raise StateFolderError(
            f"{path} has format {version}, and this version knows {FORMAT} only. "
            "Update the worker, or choose another folder with --state-dir."
        )
    if version != FORMAT:
        raise ValueError(f"unknown format {version!r}")


def _settled(folder: Path) -> bool:
    return (folder / SETTLED_FILE).exists()


def _stray(folder: Path) -> bool:
    """Whether nothing says that the folder ever belonged to a claim, or how its run ended."""
    known = any((folder / name).exists() for name in (RECORD_FILE, SURE_FILE, SETTLED_FILE))
    running = (folder / PROCESS_FILE).exists() and not (folder / EXIT_FILE).exists()
    return not known and not running


def _outlives_its_claim(folder: Path) -> bool:
    """Whether it is of hooks that are over, and their claim's folder is gone."""
    claim = claim_of_hooks(ClaimKey(folder.name))
    is_over = (folder / EXIT_FILE).exists()
    return claim is not None and is_over and not folder.with_name(claim).exists()


def _time_of(folder: Path) -> float:
    """Seconds since the epoch at which it was settled, else at which it last changed."""
    for path in (folder / SETTLED_FILE, folder):
        with contextlib.suppress(OSError):
            return path.stat().st_mtime
    return 0.0


def _remove(folder: Path) -> bool:
    try:
        shutil.rmtree(folder)
    except OSError as error:
        _log.warning("journal.not_pruned", folder=str(folder), error=str(error))
        return False
    return True


def _unusable(path: Path, error: OSError) -> StateFolderError:
    return StateFolderError(
        f"{path} cannot be used: {error.strerror}. Make room or change permissions."
    )
