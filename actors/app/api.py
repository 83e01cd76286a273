"""The way to the Prefect server that the settings name."""

from __future__ import annotations

from ..domain.errors import SettingsError
from ..domain.ports import Clock
from ..orchestrator.api import PrefectApi
from ..orchestrator.profile import PrefectProfile
from ..orchestrator.session import Session


def connect(profile: PrefectProfile, *, clock: Clock) -> tuple[PrefectApi, Session]:
    """A client for the profile's server, and its session, which is to be closed.

    SettingsError: no server is named.
    """
    if not profile.api_url:
        raise SettingsError(
            "No Prefect server is named. Set PREFECT_API_URL (for example "
            "http://127.0.0.1:4200/api), or choose a profile that has it."
        )
    session = Session(profile.session_options(), clock=clock)
    return PrefectApi(session), session
