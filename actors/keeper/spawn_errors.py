"""Why a process could not be started, in words that a person can act on."""

from __future__ import annotations

import errno
import os
from collections.abc import Mapping, Sequence


class SpawnFailed(Exception):
    """The command, directory or environment of a run is wrong; the message says how."""


class RecordRefused(SpawnFailed):
    """The disk takes no record of the run, which is not the run's fault: ask again."""


DISK_FULL_OR_BROKEN = {errno.ENOSPC, errno.EROFS, errno.EDQUOT, errno.EIO}


def check(argv: Sequence[str], env: Mapping[str, str]) -> None:
    """Raises SpawnFailed for what execve(2) cannot take."""
    if not argv or not argv[0]:
        raise SpawnFailed("The command is empty.")
    if any("\0" in argument for argument in argv):
        raise SpawnFailed("An argument of the command contains a NUL character.")
    for name, value in env.items():
        if not name or "=" in name or "\0" in name:
            raise SpawnFailed(f"{name!r} cannot be the name of an environment variable.")
        if "\0" in value:
            raise SpawnFailed(f"The environment variable {name} contains a NUL character.")


def explain(stage: str, number: int, argv: Sequence[str], where: str, path: str) -> str:
    """The sentence for errno ``number`` at ``stage``.

    ``where`` is the working directory, ``path`` the search path of the command.
    """
    words = os.strerror(number)
    if stage == "directory":
        if number == errno.ENOENT:
            return f"The working directory {where} does not exist."
        if number == errno.ENOTDIR:
            return f"The working directory {where} is not a directory."
        return f"The working directory {where} cannot be entered: {words}."
    if stage == "nice":
        return f"The niceness of the process cannot be set: {words}."
    if stage == "record":
        return f"The run's folder in the state folder cannot be written: {words}."
    if stage == "exec":
        return _explain_exec(number, argv, where, path)
    return f"The process could not be created: {words}."


def _explain_exec(number: int, argv: Sequence[str], where: str, path: str) -> str:
    command = argv[0]
    if number == errno.E2BIG:
        return "The command's arguments and environment together are too long for the system."
    if number == errno.ENOENT:
        if "/" not in command:
            for folder in path.split(os.pathsep):
                if os.path.exists(os.path.join(where, folder, command)):
                    return f"The interpreter in the first line of {folder}/{command} is missing."
            return f"The command {command!r} was not found in the run's PATH ({path})."
        if os.path.exists(os.path.join(where, command)):
            return f"The interpreter in the first line of {command} is missing."
        return f"The command {command} does not exist."
    if number == errno.EACCES:
        if os.path.isdir(os.path.join(where, command)):
            return f"The command {command} is a directory."
        return f"The command {command!r} is not executable: permission denied."
    if number == errno.ENOEXEC:
        return f"The command {command!r} is neither a program nor a script with a '#!' line."
    return f"The command {command!r} could not be executed: {os.strerror(number)}."
