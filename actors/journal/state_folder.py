"""The state folder, which survives the worker and belongs to one worker at a time."""

from __future__ import annotations

import contextlib
import os
import pwd
import stat
from pathlib import Path

from ..domain.errors import SettingsError, StateFolderError
from ..keeper.constants import RUNS, WORKER_LOCK
from ..keeper.files import holds_lock, open_own, read_own

FORMAT = 1
"""Version of the folder's layout. A newer one is refused."""

_FORMAT_FILE = "format"


class StateFolder:
    """One worker's folder. Owns: lock (descriptor of the held lock file).

    Layout: ``format`` (version), ``worker.lock`` (held by the living worker), ``keeper.lock``,
    ``keeper.sock``, ``keeper.log``, and ``runs/<claim key>/`` with a folder per claim. Folders
    are 0700 and files 0600.
    """

    def __init__(self, path: Path) -> None:
        self.path = path.absolute()
        self.lock: int | None = None
        """The descriptor of the lock file, while this object holds it.

        A process that receives it holds the folder, too, until it closes it (flock(2)).
        """

    @property
    def runs(self) -> Path:
        return self.path / RUNS

    def prepare(self) -> None:
        """Creates what is missing, and closes the folder to other users.

        SettingsError: it is another user's, or a symbolic link: its owner could read the output of
        runs, and redirect what we write. StateFolderError: it cannot be written, or a newer
        version of this program made it.
        """
        try:
            for folder in (self.path, self.runs):
                _make(folder)
                _close_to_others(folder)
            self._check_format()
        except OSError as error:
            raise self._unusable(error) from error

    def try_lock(self) -> bool:
        """Locks the folder for this worker; False when another living worker has it.

        The lock ends with this process however it ends (flock(2)).
        """
        if self.lock is not None:
            return True
        self.prepare()
        try:
            lock = open_own(str(self.path / WORKER_LOCK), os.O_RDWR | os.O_CREAT)
        except OSError as error:
            raise self._unusable(error) from error
        if not holds_lock(lock, str(self.path / WORKER_LOCK)):
            os.close(lock)
            return False
        self.lock = lock
        return True

    def hand_over(self) -> int:
        """Returns the lock's descriptor for :meth:`take_over` in a program that replaces this one.

        The program inherits it by exec, so the folder is never free in between. RuntimeError when
        it is not held.
        """
        if self.lock is None:
            raise RuntimeError(f"{self.path} is not held.")
        lock, self.lock = self.lock, None
        os.set_inheritable(lock, True)
        return lock

    def take_over(self, lock: int) -> bool:
        """Holds the folder by a lock that was handed over; False when it is another folder's."""
        if not holds_lock(lock, str(self.path / WORKER_LOCK)):
            return False
        self.prepare()
        os.set_inheritable(lock, False)
        self.lock = lock
        return True

    def release(self) -> None:
        """Gives the folder back; harmless when it is not held."""
        if self.lock is not None:
            os.close(self.lock)
            self.lock = None

    def __enter__(self) -> StateFolder:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()

    def _check_format(self) -> None:
        """Refuses a folder of a newer version.

        A file that a power cut or a broken disk has emptied is written anew: records carry their
        own format, so newer ones are noticed all the same.
        """
        file = str(self.path / _FORMAT_FILE)
        try:
            found = read_own(file).decode("ascii", "ignore").strip("\0 \n")
        except FileNotFoundError:
            found = ""
        if not found or not found.isprintable():
            with open(open_own(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), "w") as new:
                new.write(f"{FORMAT}\n")
        elif not found.isdigit() or int(found) > FORMAT:
            raise StateFolderError(
                f"The state folder {self.path} has format {found!r}, and this version knows "
                f"{FORMAT} only. Update the worker, or choose another folder with --state-dir."
            )

    def _unusable(self, error: OSError) -> StateFolderError:
        where = error.filename or self.path
        return StateFolderError(
            f"The state folder {self.path} cannot be used: {where}: {error.strerror}. "
            "Choose another one with --state-dir, or change its owner or permissions."
        )


def _make(folder: Path) -> None:
    """Creates ``folder`` and its missing parents, for our user only. Raises OSError."""
    missing = [folder, *folder.parents]
    while missing and os.path.lexists(missing[-1]):
        missing.pop()
    for path in reversed(missing):
        with contextlib.suppress(FileExistsError):  # another worker creates it at the same time
            os.mkdir(path, 0o700)
            os.chmod(path, 0o700)  # whatever the umask is


def _close_to_others(folder: Path) -> None:
    """Removes the permissions of group and others.

    SettingsError: ``folder`` is another user's, or a symbolic link. OSError: it is no folder.
    """
    found = os.lstat(folder)
    if stat.S_ISLNK(found.st_mode):
        raise SettingsError(
            f"The state folder {folder} is a symbolic link to {os.path.realpath(folder)}, and "
            "the owner of the link may let it lead elsewhere. Name a folder with --state-dir that "
            "is none."
        )
    if found.st_uid != os.geteuid():
        raise SettingsError(
            f"The state folder {folder} belongs to {_user(found.st_uid)}, and this worker runs as "
            f"{_user(os.geteuid())}. Choose another one with --state-dir, run the worker as that "
            "user, or, if nobody else has had access to it, change its owner with chown -R."
        )
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        if os.fstat(descriptor).st_mode & 0o077:
            os.fchmod(descriptor, 0o700)
    finally:
        os.close(descriptor)


def _user(number: int) -> str:
    try:
        return f"user {pwd.getpwuid(number).pw_name}"
    except KeyError:
        return f"user {number}"
