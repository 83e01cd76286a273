"""Small JSON files that are either there completely or not at all, for their owner only."""

from __future__ import annotations

import contextlib
import errno
import json
import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .protocol import Frame


def replace(folder: str, name: str, content: Frame) -> None:
    """Write ``content`` as ``folder/name``, replacing what is there. Raises OSError."""
    path = os.path.join(folder, name)
    draft = _draft(path, content)
    try:
        os.replace(draft, path)
    except OSError:
        _remove(draft)
        raise


def create(folder: str, name: str, content: Frame) -> None:
    """Write ``content`` as ``folder/name``; FileExistsError when somebody was faster.

    link(2) does not replace, so of several creators exactly one succeeds, and nobody ever sees
    half a file.
    """
    path = os.path.join(folder, name)
    draft = _draft(path, content)
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


def _draft(path: str, content: Frame) -> str:
    draft = f"{path}.{os.getpid()}.new"
    data = json.dumps(content, indent=1).encode("ascii") + b"\n"
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        if os.write(descriptor, data) != len(data):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), draft)
    except OSError:
        _remove(draft)
        raise
    finally:
        os.close(descriptor)
    return draft


def _remove(path: str) -> None:
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)
