"""Small JSON files that exist completely or not at all, for their owner only.

Their folders admit only their owner now. They may have admitted others before, so no file of
another user's is read or written.

After a power cut, files are complete only if they were synchronized (fsync(2)). That takes 7 ms
for a file and 3 ms for its folder on a virtual disk, far more on a busy one. So it is done where a
loss would matter, and never in the keeper's own thread.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import stat

from .protocol import Frame


def holds_lock(descriptor: int, path: str) -> bool:
    """Whether the open file behind ``descriptor`` is ``path`` and holds its lock.

    A lock of flock(2) belongs to an open file, wherever its descriptors are sent. Requested again
    through one of them it is granted, and through no other open file while it is held. If nobody
    holds it, the open file behind ``descriptor`` does from now on.
    """
    try:
        if not os.path.samestat(os.fstat(descriptor), os.lstat(path)):
            return False
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def is_own_folder(path: str) -> bool:
    """Whether ``path`` is a folder of our user's, and not a symbolic link to one."""
    try:
        found = os.lstat(path)
    except OSError:
        return False
    return stat.S_ISDIR(found.st_mode) and found.st_uid == os.geteuid()


def open_own(path: str, flags: int) -> int:
    """Opens the regular file ``path`` of our user; creates it with mode 0600.

    Raises OSError, also for a symbolic link (symlink(7)), another kind of file, another owner.
    """
    # O_NONBLOCK: do not wait at a FIFO. It has no effect on regular files (open(2)).
    safely = os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
    try:
        descriptor = os.open(path, flags | safely, 0o600)
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise PermissionError(errno.EPERM, "it is a symbolic link", path) from error
        raise
    found = os.fstat(descriptor)
    if not stat.S_ISREG(found.st_mode) or found.st_uid != os.geteuid():
        os.close(descriptor)
        raise PermissionError(errno.EPERM, "it is no file of this user's", path)
    return descriptor


def read_own(path: str) -> bytes:
    """Raises OSError as :func:`open_own` does."""
    with open(open_own(path, os.O_RDONLY), "rb") as file:
        return file.read()


def write(path: str, content: Frame) -> None:
    """Writes all of ``content`` to ``path``, or leaves no file. Raises OSError."""
    data = json.dumps(content, indent=1).encode("ascii") + b"\n"
    descriptor = open_own(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    try:
        if os.write(descriptor, data) != len(data):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), path)
    except OSError:
        _remove(path)
        raise
    finally:
        os.close(descriptor)


def replace(folder: str, name: str, content: Frame) -> None:
    """Writes ``content`` as ``folder/name``, replacing what is there. Raises OSError."""
    path = os.path.join(folder, name)
    draft = _draft(path)
    write(draft, content)
    try:
        os.replace(draft, path)
    except OSError:
        _remove(draft)
        raise


def create(folder: str, name: str, content: Frame) -> None:
    """Writes ``content`` as ``folder/name``; FileExistsError when it exists.

    link(2) does not replace, so of several creators exactly one succeeds, and nobody ever sees
    half a file, not even after a power cut. To survive one it needs a :func:`sync` of ``folder``.
    """
    path = os.path.join(folder, name)
    draft = _draft(path)
    write(draft, content)
    try:
        sync(draft)
        os.link(draft, path)
    finally:
        _remove(draft)


def read(folder: str, name: str) -> Frame | None:
    """The JSON object in ``folder/name``; None when there is none, or it is not valid."""
    try:
        content = json.loads(read_own(os.path.join(folder, name)))
    except (OSError, ValueError, RecursionError):  # RecursionError: nested too deeply
        return None
    return content if isinstance(content, dict) else None


def sync(path: str) -> None:
    """Returns when the file or folder ``path`` is on the disk. Raises OSError."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):  # not every file system can
            raise
    finally:
        os.close(descriptor)


def _draft(path: str) -> str:
    return f"{path}.{os.getpid()}.new"


def _remove(path: str) -> None:
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)
