"""Well-known exit codes and signals, for :func:`.exit_status.explain`.

The codes are those of shells and container runtimes (128 plus the signal), and those that
Prefect's worker explains (``prefect/_internal/infrastructure_exit_codes.py``).
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """How a process ended, for people. ``level`` is a :mod:`logging` number."""

    summary: str
    cause: str = ""
    advice: str = ""
    level: int = logging.ERROR

    @property
    def text(self) -> str:
        """All of it, in one line."""
        return " ".join(part for part in (self.summary, self.cause, self.advice) if part)


_MEMORY_ADVICE: Final = (
    "See whether memory ran short at that time (journalctl -k, the container's events); give the "
    "run more, or let it use less."
)
_NATIVE_ADVICE: Final = (
    "Set PYTHONFAULTHANDLER=1 in the job's env to see where, and suspect compiled libraries first."
)

BY_SIGNAL: Final[dict[str, tuple[str, str, int]]] = {
    "SIGKILL": (
        "Most often the system ran out of memory, or somebody killed it on purpose.",
        f"{_MEMORY_ADVICE} If it was cancelled, all is well.",
        logging.INFO,
    ),
    "SIGTERM": (
        "Something asked it to stop: a cancellation, a shutdown, a deployment of new machines.",
        "If it was cancelled, all is well; otherwise see what stopped the machine or container.",
        logging.INFO,
    ),
    "SIGINT": (
        "Somebody interrupted it, as Ctrl+C does.",
        "If that was meant, all is well.",
        logging.INFO,
    ),
    "SIGHUP": (
        "Its terminal or session was closed.",
        "Start the worker as a service, or detached from the terminal.",
        logging.ERROR,
    ),
    "SIGSEGV": (
        "It touched memory that is not its own: a fault in compiled code, or a stack overflow.",
        _NATIVE_ADVICE,
        logging.ERROR,
    ),
    "SIGBUS": (
        "It used memory that could not be provided: a file cut short while mapped, or a full "
        "/dev/shm.",
        "See whether /dev/shm or the disk was full.",
        logging.ERROR,
    ),
    "SIGABRT": (
        "It gave up by itself: a failed assertion in compiled code, or corrupted memory.",
        _NATIVE_ADVICE,
        logging.ERROR,
    ),
    "SIGFPE": (
        "Compiled code divided by zero or overflowed.",
        _NATIVE_ADVICE,
        logging.ERROR,
    ),
    "SIGILL": (
        "It met an instruction that this processor does not know.",
        "Install builds of the compiled libraries that fit this machine's processor.",
        logging.ERROR,
    ),
    "SIGPIPE": (
        "It wrote to a pipe or socket that nobody read any more.",
        "See which program it was talking to ended before it.",
        logging.ERROR,
    ),
    "SIGXCPU": (
        "It used up the processor time that it was allowed.",
        "Raise the limit (ulimit -t), or give the run less to do.",
        logging.ERROR,
    ),
    "SIGXFSZ": (
        "It wrote a file larger than it was allowed.",
        "Raise the limit (ulimit -f).",
        logging.ERROR,
    ),
}

ANY_SIGNAL: Final = ("", "See what on this machine sends that signal.", logging.ERROR)

BY_CODE: Final[dict[int, tuple[str, str, str]]] = {
    1: ("", "Most often an exception that nothing caught.", "Look at the end of its output."),
    2: (
        "",
        "Most often a command line that the program does not understand.",
        "Check the command in the job variables, and look at the end of its output.",
    ),
    125: (
        "",
        "The container runtime could not run the container.",
        "Check the image's name, its entry point, and that the runtime works.",
    ),
    126: (
        ": a command was found but could not be executed",
        "Usually its file is not marked as executable, or is no program.",
        "Check the file's permissions (chmod +x) and its first line.",
    ),
    127: (
        ": a command was not found",
        "Usually it is not installed where the run happens, or not on its PATH.",
        "Install it, or write its full path.",
    ),
    137: (
        ": something in it was ended by SIGKILL",
        "Most often memory ran out.",
        _MEMORY_ADVICE,
    ),
    247: (
        "",
        "Most often something in it was ended by SIGKILL because memory ran out.",
        _MEMORY_ADVICE,
    ),
}
"""What happened, the cause and the advice. All of them are errors."""

ANY_CODE: Final = (
    "",
    "The command itself chose this code.",
    "Look at its output and at the command's documentation.",
)

CLEAN: Final = Explanation(summary="The process exited cleanly.", level=logging.INFO)

LOST: Final = Explanation(
    summary="The process is over, but nobody was there to receive its exit code.",
    cause="The keeper, the process that holds the worker's runs, had ended before it.",
    advice="See in the worker's log why; whether the run did its work shows in its output.",
)
