"""Quickstart's output: steps with their progress, and the table at the end."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Final, TextIO

from .api import SampleRun

WIDEST_REASON: Final = 100
"""Characters of a state's message that the table shows; the page behind the link has all."""


class Screen:
    """Writes to a terminal, where a step's line counts the seconds, or to a file."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._live = stream.isatty()
        self._step = ""
        self._since = 0.0

    def say(self, text: str = "") -> None:
        print(text, file=self._stream, flush=True)

    def begin(self, step: str) -> None:
        self._step, self._since = step, time.monotonic()
        print(f"{step} ...", end="" if self._live else "\n", file=self._stream, flush=True)

    def tick(self) -> None:
        """Show that the step is still going on."""
        if self._live:
            print(f"\r{self._step} ... {self._seconds():.0f} s", end="", file=self._stream)
            self._stream.flush()

    def end(self, outcome: str) -> None:
        """Say how the step ended, and after how long."""
        line = f"{self._step} ... {outcome} after {self._seconds():.1f} s"
        self.say(f"\r{line}" if self._live else f"  {outcome} after {self._seconds():.1f} s")

    def break_off(self) -> None:
        """End the line of a step that did not finish."""
        if self._live:
            self.say()

    def _seconds(self) -> float:
        return time.monotonic() - self._since


def table(runs: Sequence[SampleRun], page: str) -> str:
    """The runs with what became of them; ``page`` is the address that a run's id completes."""
    rows = [("FLOW", "STATE", "TOOK", "PAGE")]
    for run in runs:
        took = "" if run.seconds is None else f"{run.seconds:.1f} s"
        rows.append((run.flow, run.state, took, f"{page}{run.id}"))
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
    lines = []
    for number, row in enumerate(rows):
        cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=False)]
        lines.append("  ".join([*cells, row[3]]))
        if number and (why := _reason(runs[number - 1])):
            lines.append(f"{' ' * widths[0]}  {why}")
    return "\n".join(lines)


def _reason(run: SampleRun) -> str:
    first = (run.message or "").strip().split("\n")[0]
    return first if len(first) <= WIDEST_REASON else first[: WIDEST_REASON - 3] + "..."
