"""Whether the worker may admit runs: the Guardian and the state folder are asked together."""

from __future__ import annotations

from collections.abc import Coroutine
from dataclasses import dataclass
from typing import Any

import structlog

from ..domain.errors import StateFolderError
from ..domain.log_once import LogOnce
from ..domain.ports import Journal
from ..messages.guardian import CurrentStage, Stage
from ..runtime import ActorDeadError, Address

log = structlog.get_logger("actors.dispatcher")


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """To the Dispatcher itself: whether the worker takes runs and the state folder was written."""

    stage: Stage
    error: StateFolderError | None = None


class Permit:
    """Owns: whether one poll's runs may be admitted, and the check that finds that out.

    The check goes on while the server answers the poll, so runs seldom wait for it. A permit is
    for one poll. What cannot be recorded is not claimed: its process could not be recorded
    either. A disk that is stuck gives no answer, and nothing is claimed.
    """

    def __init__(self, *, journal: Journal, guardian: Address) -> None:
        self._journal = journal
        self._guardian = guardian
        self._is_given = False
        self._is_checking = False
        self._is_valid = True  # the check under way began after the last withdrawal
        self._unwritable = LogOnce()

    def check(self) -> Coroutine[Any, Any, Checked] | None:
        """What to await for a new permit; None: a check is under way."""
        if self._is_checking:
            return None
        self._is_given = False
        self._is_checking = True
        self._is_valid = True
        return self._check()

    def checked(self, checked: Checked) -> bool:
        """The check has ended. Returns whether runs may be admitted."""
        self._is_checking = False
        may_write = checked.error is None
        if checked.stage is Stage.WORKING and may_write and self._unwritable.resolve():
            log.info("intake.resumed", hint="The state folder can be written again.")
        elif checked.error is not None and self._unwritable.report(str(checked.error)):
            log.error(
                "intake.paused",
                error=str(checked.error),
                hint="No run is taken until the state folder can be written again.",
            )
        self._is_given = checked.stage is Stage.WORKING and may_write and self._is_valid
        return self._is_given

    def take(self) -> bool:
        """Use the permit up. Returns whether there was one."""
        was_given, self._is_given = self._is_given, False
        return was_given

    def withdraw(self) -> None:
        """The worker drains: neither a permit nor a check under way counts any more."""
        self._is_given = False
        self._is_valid = False

    async def _check(self) -> Checked:
        stage = await current_stage(self._guardian)
        error: StateFolderError | None = None
        if stage is Stage.WORKING:
            try:
                await self._journal.check()
            except StateFolderError as failure:
                error = failure
        return Checked(stage=stage, error=error)


async def current_stage(guardian: Address) -> Stage:
    """Where in its life the worker is. A Guardian that is gone is stopping its services."""
    try:
        return await guardian.request(CurrentStage(), timeout=None)
    except ActorDeadError:
        return Stage.DRAINING
