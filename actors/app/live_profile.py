"""Prefect's settings of a worker whose credentials may be rotated."""

from __future__ import annotations

import asyncio
from typing import Final

import structlog

from ..domain.errors import SettingsError
from ..domain.log_once import LogOnce
from ..domain.ports import Threads
from ..prefect_api.http.session_options import Credentials
from ..prefect_api.settings.profile import PrefectProfile

log = structlog.get_logger("actors.profile")

READ_SECONDS: Final = 5.0
"""How long the files may take to be read; home directories may be on a network."""


class LiveProfile:
    """The settings of the worker's start, with the current credentials.

    A key is first changed in the profile and revoked some time later. A run that starts in between
    needs the new key. All other settings stay as they were at the start, so that runs speak to the
    same server as their worker.

    A thread of ``threads`` reads the files. Callers share a reading that is under way, so that
    hundreds of runs that start at once cost one or two.

    Owns: _profile (what was read last), _secrets (of every profile that was read: output of runs
    with the old key is masked, too) and _reading (the task that reads).
    """

    def __init__(
        self, profile: PrefectProfile, threads: Threads, *, read_seconds: float = READ_SECONDS
    ) -> None:
        self._profile = profile
        self._threads = threads
        self._read_seconds = read_seconds
        self._secrets = profile.secrets()
        self._reading: asyncio.Task[None] | None = None
        self._trouble = LogOnce()

    @property
    def secrets(self) -> frozenset[str]:
        return self._secrets

    async def credentials(self) -> Credentials:
        """The current credentials. SettingsError: the settings cannot be read."""
        await self._refresh()
        return self._profile.credentials()

    async def environment(self) -> dict[str, str]:
        """Variables for a run that starts now; the last known ones if the files are unreadable."""
        try:
            await self._refresh()
            self._trouble.resolve()
        except SettingsError as error:
            if self._trouble.report(str(error)):
                log.warning("api.credentials_unreadable", error=str(error))
        return self._profile.environment()

    async def _refresh(self) -> None:
        if self._reading is None:
            self._reading = asyncio.create_task(self._read(), name="settings")
            self._reading.add_done_callback(self._was_read)
        try:
            async with asyncio.timeout(self._read_seconds):
                await asyncio.shield(self._reading)
        except TimeoutError:
            raise SettingsError(
                f"The files with Prefect's settings were not read in {self._read_seconds:g} s."
            ) from None

    async def _read(self) -> None:
        found = await self._threads.run(self._profile.found_again)
        self._profile = self._profile.with_credentials_of(found)
        self._secrets |= self._profile.secrets()

    def _was_read(self, reading: asyncio.Task[None]) -> None:
        self._reading = None
        if not reading.cancelled():
            reading.exception()  # retrieved: its caller may have stopped waiting
