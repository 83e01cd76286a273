"""Why a process could not be started, in words that a person can act on."""

from __future__ import annotations

import errno
import os
from collections.abc import Mapping, Sequence

from .protocol import Frame


class SpawnFailed(Exception):
    """The command, directory or environment of a run is wrong; the message says how."""


class RecordRefused(SpawnFailed):
    """The disk takes no record of the run, which is not the run's fault: ask again."""


_DISK_FULL_OR_BROKEN = {errno.ENOSPC, errno.EROFS, errno.EDQUOT, errno.EIO}

_SENTENCES = {
    ("setup", None): "The process could not be created: {error}.",
    ("directory", None): "The working directory {where} cannot be entered: {error}.",
    ("directory", errno.ENOENT): "The working directory {where} does not exist.",
    ("directory", errno.ENOTDIR): "The working directory {where} is not a directory.",
    ("nice", None): "The niceness of the process cannot be set: {error}.",
    ("record", None): "The run's folder in the state folder cannot be written: {error}.",
    ("exec", None): "The command {command!r} could not be executed: {error}.",
    ("exec", errno.E2BIG): (
        "The command's arguments and environment together are too long for the system."
    ),
    ("exec", errno.EACCES): "The command {command!r} is not executable: permission denied.",
    ("exec", errno.ENOEXEC): (
        "The command {command!r} is neither a program nor a script with a '#!' line."
    ),
}
"""By stage and errno; None stands for every other errno."""


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


def search_path(env: Mapping[str, str]) -> str:
    """The folders in which a command without a slash is looked for (execvp(3))."""
    return env.get("PATH") or os.defpath


def cause(stage: str, number: int, order: Frame, where: str) -> SpawnFailed:
    """Says why the command of ``order`` does not run: errno ``number`` at ``stage``.

    ``where`` is its working directory.
    """
    command = order["argv"][0]
    if stage == "exec" and number == errno.ENOENT:
        words = _what_is_missing(command, where, search_path(order["env"]))
    elif (stage, number) == ("exec", errno.EACCES) and os.path.isdir(os.path.join(where, command)):
        words = f"The command {command} is a directory."
    else:
        sentence = _SENTENCES.get((stage, number)) or _SENTENCES[stage, None]
        words = sentence.format(command=command, where=where, error=os.strerror(number))
    later = stage == "record" and number in _DISK_FULL_OR_BROKEN
    return RecordRefused(words) if later else SpawnFailed(words)


def _what_is_missing(command: str, where: str, path: str) -> str:
    found = [os.path.join(folder, command) for folder in path.split(os.pathsep)]
    for file in [command] if "/" in command else found:
        if os.path.exists(os.path.join(where, file)):
            return f"The interpreter in the first line of {file} is missing."
    if "/" in command:
        return f"The command {command} does not exist."
    return f"The command {command!r} was not found in the run's PATH ({path})."
