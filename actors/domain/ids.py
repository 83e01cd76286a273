"""Names for the identifiers that travel through the house, so that no two can be mixed up."""

from __future__ import annotations

import uuid
from random import Random, SystemRandom
from typing import Final, NewType

FlowRunId = NewType("FlowRunId", str)
FlowId = NewType("FlowId", str)
DeploymentId = NewType("DeploymentId", str)

TransitionId = NewType("TransitionId", str)
"""Identifies one logical state transition; the server answers a repeat of it as a repeat."""

ClaimKey = NewType("ClaimKey", str)
"""One claim of one flow run: ``<flow run id>.<8 hex digits>``.

It names the run's folder, its entry in the keeper's table and the marker in its environment.
A flow run that is retried or rescheduled is claimed anew and gets another key.
"""

_CHANCE: Final = SystemRandom()


def new_transition_id(rng: Random = _CHANCE) -> TransitionId:
    """A fresh transition id; chance may be passed in, so that a simulation can be repeated."""
    return TransitionId(str(uuid.UUID(int=rng.getrandbits(128), version=4)))


def claim_key(run_id: FlowRunId, transition_id: TransitionId) -> ClaimKey:
    """The key of the claim that proposes Pending for ``run_id`` with ``transition_id``."""
    return ClaimKey(f"{run_id}.{transition_id[:8]}")


def flow_run_id_of(key: ClaimKey) -> FlowRunId:
    """The flow run that the claim ``key`` is about."""
    return FlowRunId(key.rsplit(".", 1)[0])
