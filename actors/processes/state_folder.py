"""The state folder: what of a worker survives it, and who may use it."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from ..domain.errors import StateFolderError
from .keeper.names import RUNS, WORKER_LOCK
from .keeper.trust import holds_lock

FORMAT = 1
"""Version of the folder's layout. A newer one is refused; nothing is older yet."""

_FORMAT_FILE = "format"


class StateFolder:
    """One worker's folder. Owns: _lock (descriptor of the held lock file).

    Layout: ``format`` (version), ``worker.lock`` (held by the living worker), ``keeper.lock``,
    ``keeper.sock``, ``keeper.log``, and ``runs/<claim key>/`` with a folder per claim. Folders
    are 0700 and files 0600.
    """

    def __init__(self, path: Path) -> None:
        self.path = path.absolute()
        self._lock: int | None = None

    @property
    def lock(self) -> int | None:
        """The descriptor of the lock file, while this object holds it.

        Whoever is sent it holds the folder, too, until he closes it (flock(2)).
        """
        return self._lock

    @property
    def runs(self) -> Path:
        """Where the claims' folders are."""
        return self.path / RUNS

    def prepare(self) -> None:
        """Create what is missing.

        StateFolderError: it cannot be written, or a newer version of this program made it.
        """
        try:
            for folder in (self.path, self.runs):
                folder.mkdir(mode=0o700, parents=True, exist_ok=True)
                if folder.stat().st_mode & 0o077:
                    folder.chmod(0o700)
            self._check_format()
        except OSError as error:
            raise StateFolderError(
                f"The state folder {self.path} cannot be used: {error.strerror}. "
                "Choose another one with --state-dir, or change its owner or permissions."
            ) from error

    def try_lock(self) -> bool:
        """Take the folder for this worker; False when another living worker has it.

        The lock ends with this process however it ends (flock(2)).
        """
        if self._lock is not None:
            return True
        self.prepare()
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC
        try:
            lock = os.open(self.path / WORKER_LOCK, flags, 0o600)
        except OSError as error:
            raise StateFolderError(
                f"The state folder {self.path} cannot be locked: {error.strerror}."
            ) from error
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(lock)
            return False
        self._lock = lock
        return True

    def hand_over(self) -> int:
        """Keep the lock beyond this object: a descriptor that a program executed in place of
        this one inherits, and gives to :meth:`take_over`. At no time is the folder free.

        RuntimeError when it is not held.
        """
        if self._lock is None:
            raise RuntimeError(f"{self.path} is not held.")
        lock, self._lock = self._lock, None
        os.set_inheritable(lock, True)
        return lock

    def take_over(self, lock: int) -> bool:
        """Hold the folder by a lock that was handed over; False when it is another folder's."""
        if not holds_lock(lock, str(self.path / WORKER_LOCK)):
            return False
        self.prepare()
        os.set_inheritable(lock, False)
        self._lock = lock
        return True

    def release(self) -> None:
        """Give the folder back; harmless when it is not held."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def __enter__(self) -> StateFolder:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()

    def _check_format(self) -> None:
        """Refuse what a newer version has made.

        A file that a power cut or a broken disk has emptied says nothing: it is written anew.
        Records carry their own format, so newer ones are found out all the same.
        """
        file = self.path / _FORMAT_FILE
        found = _text(file)
        if not found:
            draft = file.with_suffix(f".{os.getpid()}.new")
            draft.touch(mode=0o600)
            draft.write_text(f"{FORMAT}\n")
            draft.replace(file)
        elif not found.isdigit() or int(found) > FORMAT:
            raise StateFolderError(
                f"The state folder {self.path} has format {found!r}, and this version knows "
                f"{FORMAT} only. Update the worker, or choose another folder with --state-dir."
            )


def _text(file: Path) -> str:
    """What is in ``file``; empty where there is none, or nothing that a person could read."""
    try:
        found = file.read_text("ascii").strip("\0 \n")
    except (FileNotFoundError, UnicodeDecodeError):
        return ""
    return found if found.isprintable() else ""
