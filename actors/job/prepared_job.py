"""What a supervisor needs to know of a job, and who finds it out."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from ..domain.masking import Masker
from ..domain.model import Resource, WorkPool
from ..domain.process import SpawnOrder
from ..domain.record import JobSummary, RunRecord


@dataclass(frozen=True, slots=True, kw_only=True)
class Preparation:
    """A job ready to be started: the order for the keeper, and what to remember of it."""

    order: SpawnOrder
    note: JobSummary
    related: tuple[Resource, ...]
    masker: Masker = field(default_factory=Masker)


Prepare = Callable[[RunRecord, WorkPool], Awaitable[Preparation]]
"""Reads what a job depends on and puts it together.

InvalidJob: the configuration is wrong. NotFound: the deployment or flow does not exist.
Unavailable: ask again later.
"""
