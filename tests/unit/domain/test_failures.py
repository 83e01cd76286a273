"""Every failure is passing, final or a bug, and the list of what is passing is closed."""

from __future__ import annotations

import asyncio

import pytest

from actors.domain import errors
from actors.domain.errors import FailureKind, bug_in_words, classify_failure
from actors.domain.ids import new_transition_id
from actors.domain.model import Proposal, StateType
from actors.process_supervisor.machine import stimuli as on
from actors.process_supervisor.machine.effects import (
    CheckState,
    EndTree,
    PrepareJob,
    Propose,
    ReadHistory,
    Spawn,
)
from actors.process_supervisor.retries import stimulus_of_failure

PASSING = {
    "Unavailable",
    "Unauthorized",
    "Forbidden",
    "KeeperError",
    "StateFolderError",
    "SettingsError",
}
FINAL = {"Refused", "NotFound", "Conflict", "InvalidRequest", "InvalidJob", "CouldNotStart"}


@pytest.mark.parametrize(
    "error",
    [
        kind
        for kind in vars(errors).values()
        if isinstance(kind, type) and issubclass(kind, Exception)
    ],
    ids=lambda kind: kind.__name__,
)
def test_our_own_errors(error: type[Exception]) -> None:
    expected = FailureKind.BUG
    if error.__name__ in PASSING:
        expected = FailureKind.PASSING
    if error.__name__ in FINAL:
        expected = FailureKind.FINAL
    assert classify_failure(error("words")) is expected


@pytest.mark.parametrize(
    "error",
    [RecursionError(), ZeroDivisionError(), KeyError("x"), OSError(28, "x"), TimeoutError()],
    ids=repr,
)
def test_what_nobody_has_thought_of_is_a_bug(error: Exception) -> None:
    assert classify_failure(error) is FailureKind.BUG


def test_a_cancelled_wait_is_none_of_them() -> None:
    assert not issubclass(asyncio.CancelledError, Exception)


def test_a_bug_is_named_without_its_words() -> None:
    words = bug_in_words(KeyError("password-0123"))
    assert "KeyError" in words
    assert "log has the traceback" in words
    assert "password" not in words


def test_what_the_machine_hears() -> None:
    error = KeyError("x")
    assert stimulus_of_failure(PrepareJob(), error, "why") == on.CouldNotPrepare(cause="why")
    assert stimulus_of_failure(PrepareJob(), errors.NotFound("gone"), "why") == on.CouldNotPrepare(
        cause="why", deployment_missing=True
    )
    assert stimulus_of_failure(Spawn(), error, "why") == on.CouldNotSpawn(cause="why")
    assert stimulus_of_failure(CheckState(), errors.NotFound("gone"), "why") == on.StateSeen(
        state=None
    )
    assert stimulus_of_failure(CheckState(), error, "why") == on.StateUnknown(cause="why")
    assert stimulus_of_failure(ReadHistory(), error, "why") == on.StateUnknown(cause="why")
    claim = Proposal(type=StateType.PENDING, name="Pending", transition_id=new_transition_id())
    report = Propose(proposal=claim)
    refused = on.ProposalFailed(proposal=claim, cause="why", was_refused=True)
    assert stimulus_of_failure(report, errors.Conflict("no"), "why") == refused
    failed = on.ProposalFailed(proposal=claim, cause="why", was_refused=False)
    assert stimulus_of_failure(report, error, "why") == failed
    end = EndTree(signal=15, grace_seconds=1.0, announce_cancel=False)
    assert stimulus_of_failure(end, error, "why") is None
