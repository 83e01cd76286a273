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

_HOOKS: Final = ".hooks"

_RANDOM: Final = SystemRandom()


def new_transition_id(rng: Random = _RANDOM) -> TransitionId:
    """A random transition id; a simulation passes its own ``rng`` to be repeatable."""
    return TransitionId(str(uuid.UUID(int=rng.getrandbits(128), version=4)))


def claim_key(run_id: FlowRunId, transition_id: TransitionId) -> ClaimKey:
    """The key of the claim that proposes Pending with ``transition_id``."""
    return ClaimKey(f"{run_id}.{transition_id[:8]}")


def hooks_key(key: ClaimKey) -> ClaimKey:
    """The key under which the keeper runs the hooks of the claim's flow."""
    return ClaimKey(key + _HOOKS)


def claim_of_hooks(key: ClaimKey) -> ClaimKey | None:
    """The claim that the key of hooks belongs to; None: it is no key of hooks."""
    return ClaimKey(key.removesuffix(_HOOKS)) if key.endswith(_HOOKS) else None
