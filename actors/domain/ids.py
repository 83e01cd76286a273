"""A type for each kind of identifier, so that a type checker sees when two are mixed up."""

from __future__ import annotations

import uuid
from random import Random, SystemRandom
from typing import Final, NewType

FlowRunId = NewType("FlowRunId", str)
FlowId = NewType("FlowId", str)
DeploymentId = NewType("DeploymentId", str)

TransitionId = NewType("TransitionId", str)
"""One logical state transition. The server answers a repeated one as it answered the first."""

ClaimKey = NewType("ClaimKey", str)
"""One claim of one flow run: ``<flow run id>.<8 hex digits>``.

The run's folder, its entry in the keeper's table and the marker in its environment have this name.
A flow run that is retried or rescheduled is claimed again, with another key.
"""

_RANDOM: Final = SystemRandom()


def new_transition_id(rng: Random = _RANDOM) -> TransitionId:
    """A random transition id; a simulation passes its own ``rng`` to be repeatable."""
    return TransitionId(str(uuid.UUID(int=rng.getrandbits(128), version=4)))


def claim_key(run_id: FlowRunId, transition_id: TransitionId) -> ClaimKey:
    """The key of the claim that proposes Pending with ``transition_id``."""
    return ClaimKey(f"{run_id}.{transition_id[:8]}")
