"""Whether the worker may admit runs: the Guardian and the state folder are asked together."""

from __future__ import annotations

from collections.abc import Coroutine
from dataclasses import dataclass
from typing import Any

import structlog

from ..domain.errors import StateFolderError
from ..domain.log_once import LogOnce
from ..domain.ports import Journal
from ..messages.guardian import Stage
from ..messages.services import Peers

log = structlog.get_logger("actors.dispatcher")


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """To the Dispatcher itself: whether the worker takes runs and the state folder was written."""

    stage: Stage
    error: StateFolderError | None = None


class Permit:
    """Owns: whether one poll's runs may be admitted, and whether a check of that is under way.

    The check runs while the server answers the poll, so runs seldom wait for it. One that takes
    longer than a poll serves the next one. If the state folder cannot be written the worker claims
    nothing, because it could not record the process either. If the disk is stuck the check does
    not end, and the worker claims nothing.
    """

    def __init__(self, *, journal: Journal, peers: Peers) -> None:
        self._journal = journal
        self._peers = peers
        self._is_given = False
        self._is_checking = False
        self._was_withdrawn = False
        self._unwritable = LogOnce()

    def check(self) -> Coroutine[Any, Any, Checked] | None:
        """What to await for a new permit; None: a check is under way."""
        if self._is_checking:
            return None
        self._is_given = False
        self._is_checking = True
        self._was_withdrawn = False
        return self._check()

    def checked(self, checked: Checked) -> bool:
        """The check has ended. Returns whether runs may be admitted."""
        self._is_checking = False
        may_admit = checked.stage is Stage.WORKING and checked.error is None
        if may_admit and self._unwritable.resolve():
            log.info("intake.resumed", hint="The state folder can be written again.")
        elif checked.error is not None and self._unwritable.report(str(checked.error)):
            log.error(
                "intake.paused",
                error=str(checked.error),
                hint="No run is taken until the state folder can be written again.",
            )
        self._is_given = may_admit and not self._was_withdrawn
        return self._is_given

    def take(self) -> bool:
        """Use the permit up. Returns whether there was one."""
        was_given, self._is_given = self._is_given, False
        return was_given

    def withdraw(self) -> None:
        """The worker drains: neither a permit nor a check under way counts any more."""
        self._is_given = False
        self._was_withdrawn = True

    async def _check(self) -> Checked:
        stage = await self._peers.stage()
        error: StateFolderError | None = None
        if stage is Stage.WORKING:
            try:
                await self._journal.check()
            except StateFolderError as failure:
                error = failure
        return Checked(stage=stage, error=error)
