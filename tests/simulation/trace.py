"""What happened in a simulation, in order: for whoever has to understand a failing seed."""

from __future__ import annotations

import hashlib
from collections.abc import Callable


class Trace:
    """Lines of (virtual seconds, who, what). Words are put together only when somebody reads."""

    def __init__(self, time: Callable[[], float]) -> None:
        self._time = time
        self._entries: list[tuple[float, str, tuple[object, ...]]] = []

    def say(self, who: str, *what: object) -> None:
        self._entries.append((self._time(), who, what))

    def lines(self) -> list[str]:
        return [
            f"{time:9.3f}  {who:<9} {' '.join(map(str, what))}"
            for time, who, what in self._entries
        ]

    def digest(self) -> str:
        """Equal for equal traces, whatever the interpreter's hash seed."""
        return hashlib.sha256("\n".join(self.lines()).encode()).hexdigest()
