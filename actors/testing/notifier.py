"""A service manager that only listens."""

from __future__ import annotations


class RecordingNotifier:
    """The ServiceNotifier port; ``said`` is what it was told, in order, by the words below."""

    def __init__(self, *, watchdog_seconds: float | None = None) -> None:
        self._watchdog_seconds = watchdog_seconds
        self.said: list[str] = []
        self.statuses: list[str] = []

    @property
    def watchdog_seconds(self) -> float | None:
        """See the port."""
        return self._watchdog_seconds

    def ready(self) -> None:
        """See the port."""
        self.said.append("ready")

    def reloading(self) -> None:
        """See the port."""
        self.said.append("reloading")

    def stopping(self) -> None:
        """See the port."""
        self.said.append("stopping")

    def extend(self, seconds: float) -> None:
        """See the port."""
        self.said.append("extend")

    def status(self, text: str) -> None:
        """See the port."""
        self.statuses.append(text)

    def beat(self) -> None:
        """See the port."""
        self.said.append("beat")
