"""A job that the keeper can start."""

from __future__ import annotations

from dataclasses import dataclass, field

from ..domain.masking import Masker
from ..domain.model import Resource
from ..domain.process import SpawnOrder
from ..domain.record import JobSummary


@dataclass(frozen=True, slots=True, kw_only=True)
class PreparedJob:
    """The order for the keeper, and what to remember of the job."""

    order: SpawnOrder
    summary: JobSummary
    related: tuple[Resource, ...]
    """Related resources of the run's events."""
    masker: Masker = field(default_factory=Masker)
