"""One life of the worker: all it does to the world goes through here, and ends with it."""

from __future__ import annotations


class Killed(BaseException):
    """The worker was killed: whoever still runs of it learns so at its next effect."""


class Line(str):
    """A line of output as one life holds it; the life counts those it holds."""

    life: Life

    @classmethod
    def of(cls, text: str, life: Life) -> Line:
        line = cls(text)
        line.life = life
        life.lines += 1
        return line

    def __del__(self) -> None:
        self.life.lines -= 1


class Life:
    """Whether this worker lives. What it sent before its end may still arrive."""

    def __init__(self) -> None:
        self.over = False
        self.leaving = False
        """Whether it was told to stop: what it cannot deliver now is lost."""
        self.ends_runs = False
        """Whether it was told to end all runs."""
        self.lines = 0
        """Lines of output that it was told and has not let go of."""

    def gate(self) -> None:
        """Raises Killed once the life is over."""
        if self.over:
            raise Killed
