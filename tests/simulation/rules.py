"""Which rules are asked when."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

Check = Callable[..., str | None]
"""Asked with the simulation and what happened: says what is wrong, or None."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """Checks by occasion; their names are the rules'."""

    at_rest: tuple[Check, ...] = ()
    """Each time everything that can happen at a moment has happened."""
    on_write: tuple[Check, ...] = ()
    """At each new state at the server (Write)."""
    on_spawn: tuple[Check, ...] = ()
    """At the start of a process (ScriptedProcess)."""
    on_hooks: tuple[Check, ...] = ()
    """At the start of the process of hooks (ScriptedProcess, claim)."""
    on_save: tuple[Check, ...] = ()
    """When a worker saves a record (RunRecord), before it is there."""
    on_order: tuple[Check, ...] = ()
    """When the end of a run arrives at the keeper (key, signal, seconds of grace)."""
    at_end: tuple[Check, ...] = ()
    """When everything is settled."""
