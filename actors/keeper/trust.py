"""Checks that a lock, a peer or a folder is our own user's."""

from __future__ import annotations

import fcntl
import os
import socket
import stat
import struct

_PEER_CREDENTIALS = getattr(socket, "SO_PEERCRED", None)  # Linux (unix(7))
_UCRED = struct.Struct("iII")  # pid, uid, gid


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


def is_same_user(connection: socket.socket) -> bool:
    """Whether the peer of a Unix socket is our user; True where the platform does not tell."""
    if _PEER_CREDENTIALS is None:
        return True
    found = connection.getsockopt(socket.SOL_SOCKET, _PEER_CREDENTIALS, _UCRED.size)
    return bool(_UCRED.unpack(found)[1] == os.geteuid())


def is_own_folder(path: str) -> bool:
    """Whether ``path`` is a folder of our user's, and not a symbolic link to one."""
    try:
        found = os.lstat(path)
    except OSError:
        return False
    return stat.S_ISDIR(found.st_mode) and found.st_uid == os.geteuid()
