"""Prefect's settings as this worker goes by them, while its credentials are being changed."""

from __future__ import annotations

import structlog

from ..domain.complaint import Complaint
from ..domain.errors import SettingsError
from ..orchestrator.options import Credentials
from ..orchestrator.profile import PrefectProfile

log = structlog.get_logger("actors.profile")


class ProfileInForce:
    """The settings of the worker's start, with the credentials that are found now.

    Someone who rotates a key changes it in the profile and revokes the old one some time later. A
    run that starts in between needs the new one; all else stays as it was at the start, so that
    runs speak to the server that their worker speaks to.

    Owns: _profile (what was read last) and _secrets (of all that was ever read: what a run with
    the old key prints is masked as well).
    """

    def __init__(self, profile: PrefectProfile) -> None:
        self._profile = profile
        self._secrets = profile.secrets()
        self._trouble = Complaint()

    @property
    def secrets(self) -> frozenset[str]:
        """What must be masked wherever it turns up."""
        return self._secrets

    def credentials(self) -> Credentials:
        """As they are found now. SettingsError: the settings cannot be read."""
        self._profile = self._profile.with_credentials_of(self._profile.found_again())
        self._secrets |= self._profile.secrets()
        return self._profile.credentials()

    def environment(self) -> dict[str, str]:
        """Variables for the process of a run that starts now (contract 7.3).

        While the settings cannot be read, those that were read last.
        """
        try:
            self.credentials()
            self._trouble.settle()
        except SettingsError as error:
            if self._trouble.raise_(str(error)):
                log.warning("api.credentials_unreadable", error=str(error))
        return self._profile.environment()
