"""Duplicates of descriptors that must outlive the keeper: pipes and control channels of runs.

While somebody holds the reading end of its pipe, a run whose keeper died can go on printing.
"""

from __future__ import annotations

import os

PIPE = "pipe"
CONTROL = "control"
LISTENER = "listener"


class HeldDescriptors:
    """Owns: _held (run -> what -> descriptor and token)."""

    def __init__(self) -> None:
        self._held: dict[str, dict[str, tuple[int, str]]] = {}

    def take(self, key: str, what: str, descriptor: int, token: str) -> None:
        """Hold a duplicate of ``descriptor`` from now on.

        A child's connection takes its listener's place.
        """
        held = self._held.setdefault(key, {})
        for former in {what, LISTENER if what == CONTROL else what}:
            if former in held:
                os.close(held.pop(former)[0])
        held[what] = (os.dup(descriptor), token)

    def names(self) -> list[tuple[str, str]]:
        """Run and kind of everything held."""
        return [(key, what) for key, held in self._held.items() for what in held]

    def find(self, key: str, what: str) -> tuple[int, str] | None:
        """Descriptor and token; the descriptor is good until the next call of anything here."""
        return self._held.get(key, {}).get(what)

    def drop(self, key: str) -> None:
        """Close what is held of the run."""
        for descriptor, _ in self._held.pop(key, {}).values():
            os.close(descriptor)

    def close(self) -> None:
        """Close everything."""
        for key in list(self._held):
            self.drop(key)
