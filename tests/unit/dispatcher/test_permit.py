"""When runs may be admitted: with a permit, which drain, disk and an earlier poll take away."""

from __future__ import annotations

import pytest

from actors.dispatcher.permit import Checked, Permit
from actors.domain.errors import StateFolderError
from actors.messages.guardian import Stage
from actors.messages.services import Peers
from actors.runtime import Directory
from actors.testing.journal import MemoryJournal

WORKING = Checked(stage=Stage.WORKING)


@pytest.fixture
def permit() -> Permit:
    return Permit(journal=MemoryJournal(), peers=Peers(Directory()))


def begin(permit: Permit) -> bool:
    """Begin a check whose answer the test gives. Returns whether it was needed."""
    check = permit.check()
    if check is not None:
        check.close()
    return check is not None


def test_a_permit_is_for_one_poll(permit: Permit) -> None:
    assert not permit.take()
    assert begin(permit)
    assert permit.checked(WORKING)
    assert permit.take()
    assert not permit.take()


def test_there_is_one_check_at_a_time(permit: Permit) -> None:
    assert begin(permit)
    assert not begin(permit)
    permit.checked(WORKING)
    assert begin(permit)
    assert not permit.take()


def test_a_check_that_began_before_the_drain_gives_no_permit(permit: Permit) -> None:
    assert begin(permit)
    permit.withdraw()
    assert not permit.checked(WORKING)
    assert not permit.take()


def test_the_drain_withdraws_a_permit(permit: Permit) -> None:
    begin(permit)
    permit.checked(WORKING)
    permit.withdraw()
    assert not permit.take()


@pytest.mark.parametrize(
    "checked",
    [
        Checked(stage=Stage.DRAINING),
        Checked(stage=Stage.ENDING),
        Checked(stage=Stage.WORKING, error=StateFolderError("No space left on device.")),
    ],
)
def test_a_worker_that_drains_or_cannot_record_gets_no_permit(
    permit: Permit, checked: Checked
) -> None:
    begin(permit)
    assert not permit.checked(checked)
    assert not permit.take()
