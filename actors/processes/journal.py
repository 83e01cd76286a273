"""The journal on disk: one folder per claim, holding its record, its process and its output.

``run.json`` is the record. ``settled`` (empty) says that nothing is left to do; from its time on
the folder may be pruned. The other files are the keeper's.

Two records survive a power cut for sure: the one that comes before the claim, without which the
run would stay Pending for ever, and the one before the start. They cost the loop 10 ms each
(fsync(2) of file and folder, on a virtual disk). All others follow from these, from the keeper's
files and from what the server says, and are written in 0.1 ms. Of them a power cut may leave an
empty file; then ``run.json.sure`` is read, a link to the last sure record.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
from datetime import datetime
from pathlib import Path
from typing import Any

import structlog
from pydantic import TypeAdapter, ValidationError

from ..domain.errors import StateFolderError
from ..domain.ids import ClaimKey
from ..domain.record import Phase, RunRecord
from .keeper import files
from .keeper.names import EXIT_FILE, PROCESS_FILE
from .output_reader import tail
from .state_folder import StateFolder

FORMAT = 1
"""Version of ``run.json``. A newer one is refused."""

RECORD_FILE = "run.json"
SURE_FILE = "run.json.sure"
SURE_PHASES = {Phase.CLAIMING, Phase.SPAWNING}
SETTLED_FILE = "settled"
PROBE_FILE = "room"
PROBE_BYTES = 64 * 1024
"""More than the files of a run need before it prints anything."""
CORRUPT_SUFFIX = ".corrupt"

_RECORD: TypeAdapter[RunRecord] = TypeAdapter(RunRecord)
_STRAY_SECONDS = 3600.0
"""A folder without record or process after so long belongs to a claim that was never made."""

_log: structlog.typing.FilteringBoundLogger = structlog.get_logger(__name__)


class FolderJournal:
    """The Journal port over the ``runs`` folder of a state folder."""

    def __init__(self, state: StateFolder) -> None:
        self._runs = state.runs

    def check(self) -> None:
        """See Journal.check."""
        probe = self._runs / PROBE_FILE
        try:
            try:
                probe.write_bytes(bytes(PROBE_BYTES))
            finally:
                probe.unlink(missing_ok=True)
        except OSError as error:
            raise _unusable(self._runs, error) from error

    def folder(self, key: ClaimKey) -> Path:
        """See Journal.folder."""
        path = self._runs / key
        try:
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise _unusable(path, error) from error
        return path

    def save(self, record: RunRecord) -> None:
        """See Journal.save."""
        folder = self.folder(record.key)
        content = {"format": FORMAT, "record": _RECORD.dump_python(record, mode="json")}
        sure = record.phase in SURE_PHASES
        try:
            files.replace(str(folder), RECORD_FILE, content, sure=sure)
            if sure:
                self._note_as_sure(folder)
        except OSError as error:
            raise _unusable(folder, error) from error

    def close(self, record: RunRecord) -> None:
        """See Journal.close."""
        if record.reason is None:
            _remove(self._runs / record.key)
            return
        self.save(record)
        path = self._runs / record.key / SETTLED_FILE
        try:
            path.touch(mode=0o600)
        except OSError as error:
            raise _unusable(path, error) from error

    def open_records(self) -> list[RunRecord]:
        """See Journal.open_records. StateFolderError: a newer version wrote one of them."""
        found = (self._read(folder) for folder in self._folders() if not _settled(folder))
        return [record for record in found if record is not None]

    def output_tail(self, key: ClaimKey, lines: int) -> tuple[str, ...]:
        """See Journal.output_tail. Of the last 256 KiB."""
        return tail(self._runs / key, lines)

    async def prune(self, now: datetime, *, keep_seconds: float, keep_count: int) -> int:
        """See Journal.prune. In a thread: thousands of folders take seconds."""
        return await asyncio.to_thread(self._prune, now.timestamp(), keep_seconds, keep_count)

    def _prune(self, now: float, keep_seconds: float, keep_count: int) -> int:
        settled = []
        removable = []
        for folder in self._folders():
            age = now - _time_of(folder)
            if _settled(folder):
                settled.append((age, folder))
            elif age > max(_STRAY_SECONDS, keep_seconds) and _stray(folder):
                removable.append(folder)
        settled.sort()
        for place, (age, folder) in enumerate(settled):
            if place >= keep_count or age > keep_seconds:
                removable.append(folder)
        return sum(_remove(folder) for folder in removable)

    def _folders(self) -> list[Path]:
        try:
            return sorted(path for path in self._runs.iterdir() if path.is_dir())
        except FileNotFoundError:
            return []
        except OSError as error:
            raise _unusable(self._runs, error) from error

    def _note_as_sure(self, folder: Path) -> None:
        """A link that is lost again leaves the former one, or ``run.json`` itself, as sure."""
        is_first = not (folder / SURE_FILE).exists()
        draft = folder / f"{SURE_FILE}.{os.getpid()}.new"
        draft.unlink(missing_ok=True)
        os.link(folder / RECORD_FILE, draft)
        draft.replace(folder / SURE_FILE)
        if is_first:
            files.sync(str(self._runs))

    def _read(self, folder: Path) -> RunRecord | None:
        return self._read_file(folder / RECORD_FILE) or self._read_file(folder / SURE_FILE)

    def _read_file(self, path: Path) -> RunRecord | None:
        try:
            content = json.loads(path.read_bytes())
            _check_format(path, content)
            return _RECORD.validate_python(content["record"], strict=False)
        except FileNotFoundError:
            return None
        except OSError as error:
            _log.error("journal.unreadable", file=str(path), error=str(error))
        except (ValueError, KeyError, TypeError, ValidationError) as error:
            self._quarantine(path, error)
        return None

    def _quarantine(self, path: Path, error: Exception) -> None:
        aside = path.with_name(path.name + CORRUPT_SUFFIX)
        _log.error("journal.quarantined", file=str(aside), error=str(error).splitlines()[0])
        with contextlib.suppress(OSError):
            path.replace(aside)


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
    """Whether nothing says that the folder ever belonged to a claim, or what became of it."""
    recorded = (folder / RECORD_FILE).exists() or (folder / SURE_FILE).exists()
    running = (folder / PROCESS_FILE).exists() and not (folder / EXIT_FILE).exists()
    return not recorded and not running


def _time_of(folder: Path) -> float:
    """When it was settled; else when it was last changed. Seconds since the epoch."""
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
