"""A service manager that only listens."""

from __future__ import annotations


class RecordingNotifier:
    """The ServiceManager port; ``said`` is what it was told, in order, by the words below."""

    def __init__(self, *, watchdog_seconds: float | None = None) -> None:
        self._watchdog_seconds = watchdog_seconds
        self.said: list[str] = []
        self.statuses: list[str] = []

    @property
    def watchdog_seconds(self) -> float | None:
        return self._watchdog_seconds

    def ready(self) -> None:
        self.said.append("ready")

    def reloading(self) -> None:
        self.said.append("reloading")

    def stopping(self) -> None:
        self.said.append("stopping")

    def extend(self, seconds: float) -> None:
        self.said.append("extend")

    def status(self, text: str) -> None:
        self.statuses.append(text)

    def beat(self) -> None:
        self.said.append("beat")
