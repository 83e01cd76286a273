"""Prefect's settings as this worker goes by them, while its credentials are being changed."""

from __future__ import annotations

import asyncio
from typing import Final

import structlog

from ..domain.errors import SettingsError
from ..domain.log_once import Complaint
from ..domain.ports import Threads
from ..prefect_api.http.options import Credentials
from ..prefect_api.settings.profile import PrefectProfile

log = structlog.get_logger("actors.profile")

READ_SECONDS: Final = 5.0
"""How long the files may take to be read; home directories may be on a network."""


class LiveProfile:
    """The settings of the worker's start, with the credentials that are found now.

    Someone who rotates a key changes it in the profile and revokes the old one some time later. A
    run that starts in between needs the new one; all else stays as it was at the start, so that
    runs speak to the server that their worker speaks to.

    The files are read in one of ``threads``. Who asks while they are being read shares the
    reading: hundreds of runs that start at once cost one or two.

    Owns: _profile (what was read last), _secrets (of all that was ever read: what a run with
    the old key prints is masked as well) and _reading (the task that is at it).
    """

    def __init__(
        self, profile: PrefectProfile, threads: Threads, *, read_seconds: float = READ_SECONDS
    ) -> None:
        self._profile = profile
        self._threads = threads
        self._read_seconds = read_seconds
        self._secrets = profile.secrets()
        self._reading: asyncio.Task[None] | None = None
        self._trouble = Complaint()

    @property
    def secrets(self) -> frozenset[str]:
        """What must be masked wherever it turns up."""
        return self._secrets

    async def credentials(self) -> Credentials:
        """As they are found now. SettingsError: the settings cannot be read."""
        await self._refresh()
        return self._profile.credentials()

    async def environment(self) -> dict[str, str]:
        """Variables for the process of a run that starts now.

        While the settings cannot be read, those that were read last.
        """
        try:
            await self._refresh()
            self._trouble.settle()
        except SettingsError as error:
            if self._trouble.raise_(str(error)):
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
            reading.exception()  # whoever asked may wait no more
