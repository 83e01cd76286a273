"""Runs a flow's hooks under the keeper, as a process of its run."""

from __future__ import annotations

import signal
from typing import Final

from ..domain.ids import hooks_key
from ..domain.ports import FactListener
from ..domain.record import RunRecord
from ..job.hooks import hooks_order
from ..job.job import PreparedJob
from .machine.stimuli import HooksStarted
from .ports import SupervisorPorts
from .preparation import Preparation

GRACE_SECONDS: Final = 5.0
"""Between SIGTERM and SIGKILL for hooks that had their time."""


class HookRunner:
    """A part of ProcessSupervisor. The keeper starts one process per key, so hooks run once."""

    def __init__(self, ports: SupervisorPorts, preparation: Preparation) -> None:
        self._ports = ports
        self._preparation = preparation

    async def run(
        self, record: RunRecord, job: PreparedJob | None, listener: FactListener
    ) -> HooksStarted:
        """Starts the hooks unless they were started before, and sends facts to ``listener``.

        ``job`` is the run's, which a successor prepares again. Errors: see ``Launcher.spawn`` and
        ``prepare_job``.
        """
        assert record.hooks is not None, "RunHooks is asked for when hooks are due"
        key, launcher = hooks_key(record.key), self._ports.launcher
        if await launcher.watch(key, listener) is None:
            job = job or await self._preparation.prepare_job(record)
            folder = await self._ports.journal.folder(key)
            await launcher.spawn(hooks_order(job.order, key, folder, record.hooks), listener)
        return HooksStarted()

    async def end(self, record: RunRecord) -> None:
        await self._ports.launcher.end_tree(
            hooks_key(record.key), signal=signal.SIGTERM, grace_seconds=GRACE_SECONDS
        )

    async def forget_with_run(self, record: RunRecord, *, adopted: bool) -> None:
        """Lets the keeper forget the run and its hooks, if there were any.

        The record of an adopted run may be older than its hooks, which nobody waits for then.
        """
        if record.hooks is None and adopted:
            await self.end(record)
        if record.hooks is not None or adopted:
            await self._ports.launcher.forget(hooks_key(record.key))
        await self._ports.launcher.forget(record.key)
