"""The worker as a systemd service: sd_notify(3), as far as a worker needs it.

systemd passes a datagram socket's address in ``NOTIFY_SOCKET`` and the watchdog's time in
``WATCHDOG_USEC`` (for the process ``WATCHDOG_PID``, sd_watchdog_enabled(3)).
"""

from __future__ import annotations

import os
import socket
import time
from collections import deque
from collections.abc import Mapping
from typing import Final

import structlog

log = structlog.get_logger("actors.systemd")

MAX_UNSENT: Final = 16
MAX_STATUS: Final = 512
"""Characters; systemd refuses messages that are much longer than a page."""


class Systemd:
    """The ServiceManager port over systemd's socket. It never waits.

    Owns: _unsent, the newest messages that the socket had no room for. They go before the next
    one. A manager that has gone changes nothing for the worker, so only the debug log says so.
    """

    def __init__(self, address: str, *, watchdog_seconds: float | None = None) -> None:
        # "@" stands for the NUL byte of an abstract address (unix(7))
        self._address = "\0" + address[1:] if address.startswith("@") else address
        self.watchdog_seconds = watchdog_seconds
        self._unsent: deque[bytes] = deque(maxlen=MAX_UNSENT)

    @classmethod
    def from_environment(
        cls, environ: Mapping[str, str] = os.environ, *, pid: int | None = None
    ) -> Systemd | None:
        """The systemd that started this process (``pid``, default: ours); None without one."""
        address = environ.get("NOTIFY_SOCKET", "")
        if not address.startswith(("/", "@")) or len(address) < 2:
            return None
        watched = environ.get("WATCHDOG_PID") in (None, str(pid or os.getpid()))
        microseconds = environ.get("WATCHDOG_USEC", "")
        if not watched or not microseconds.isdecimal() or int(microseconds) == 0:
            return cls(address)
        return cls(address, watchdog_seconds=int(microseconds) / 1_000_000)

    def ready(self) -> None:
        self._send("READY=1")

    def reloading(self) -> None:
        # the time tells systemd which READY=1 comes after it
        now = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
        self._send("RELOADING=1", f"MONOTONIC_USEC={now}")

    def stopping(self) -> None:
        self._send("STOPPING=1")

    def extend(self, seconds: float) -> None:
        self._send(f"EXTEND_TIMEOUT_USEC={round(seconds * 1_000_000)}")

    def status(self, text: str) -> None:
        self._send(f"STATUS={' '.join(text.split())[:MAX_STATUS]}")

    def beat(self) -> None:
        if self.watchdog_seconds is not None:
            self._send("WATCHDOG=1")

    def _send(self, *assignments: str) -> None:
        self._unsent.append("\n".join(assignments).encode(errors="backslashreplace"))
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
                channel.setblocking(False)
                while self._unsent:
                    channel.sendto(self._unsent[0], self._address)
                    self._unsent.popleft()
        except OSError as error:
            log.debug("systemd.unreachable", error=str(error), message=assignments[0])
