"""Small JSON files that are either there completely or not at all, for their owner only.

After a power cut that is only true of those that were synchronized (fsync(2)): 7 ms for a file
and 3 ms for its folder on a virtual disk, far more on a busy one. So it is done where a loss would
matter, and never by the keeper itself, whom everybody waits for.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .protocol import Frame


def replace(folder: str, name: str, content: Frame, *, sure: bool = False) -> None:
    """Write ``content`` as ``folder/name``, replacing what is there. Raises OSError.

    ``sure``: return when not even a power cut can undo it.
    """
    path = os.path.join(folder, name)
    draft = _draft(path, content, sure=sure)
    try:
        os.replace(draft, path)
    except OSError:
        _remove(draft)
        raise
    if sure:
        sync(folder)


def create(folder: str, name: str, content: Frame) -> None:
    """Write ``content`` as ``folder/name``; FileExistsError when somebody was faster.

    link(2) does not replace, so of several creators exactly one succeeds, and nobody ever sees
    half a file, not even after a power cut. That it is there then takes a :func:`sync` of
    ``folder``.
    """
    path = os.path.join(folder, name)
    draft = _draft(path, content, sure=True)
    try:
        os.link(draft, path)
    finally:
        _remove(draft)


def read(folder: str, name: str) -> Frame | None:
    """The JSON object in ``folder/name``; None when there is none that can be understood."""
    try:
        with open(os.path.join(folder, name), "rb") as file:
            content = json.load(file)
    except (OSError, ValueError):
        return None
    return content if isinstance(content, dict) else None


def sync(path: str) -> None:
    """Return when the file or folder ``path`` is on the disk. Raises OSError."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        _sync(descriptor)
    finally:
        os.close(descriptor)


def _sync(descriptor: int) -> None:
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):  # not every file system can
            raise


def _draft(path: str, content: Frame, *, sure: bool) -> str:
    draft = f"{path}.{os.getpid()}.new"
    data = json.dumps(content, indent=1).encode("ascii") + b"\n"
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        if os.write(descriptor, data) != len(data):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), draft)
        if sure:
            _sync(descriptor)
    except OSError:
        _remove(draft)
        raise
    finally:
        os.close(descriptor)
    return draft


def _remove(path: str) -> None:
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)
