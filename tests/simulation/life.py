"""One life of the worker: all it does to the world goes through here, and ends with it."""

from __future__ import annotations


class Killed(BaseException):
    """The worker was killed: whoever still runs of it learns so at its next effect."""


class Life:
    """Whether this worker lives. What it sent before its end may still arrive."""

    def __init__(self) -> None:
        self.over = False

    def gate(self) -> None:
        """Raises Killed once the life is over."""
        if self.over:
            raise Killed
