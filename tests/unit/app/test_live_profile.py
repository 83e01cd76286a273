"""Settings that are read again for each run, by a worker that must not wait for a disk."""

from __future__ import annotations

import asyncio
import threading

import pytest
from structlog.testing import capture_logs

from actors.app.live_profile import LiveProfile
from actors.domain.errors import SettingsError
from actors.prefect_api.http.threads import ThreadPool
from actors.prefect_api.settings.profile import PrefectProfile
from tests.support.on_loop import on_loop

PATIENCE_SECONDS = 60.0
RUNS = 50


class Home:
    """Where the settings are; reading them takes until :meth:`answer`."""

    def __init__(self) -> None:
        self.readings = 0
        self.key = "old"
        self._answers = threading.Event()

    def profile(self) -> PrefectProfile:
        key = self.key
        variables = {"PREFECT_API_KEY": key}
        return PrefectProfile(api_key=key, variables=variables, again=self._read)

    def answer(self) -> None:
        self._answers.set()

    def _read(self) -> PrefectProfile:
        self.readings += 1
        assert self._answers.wait(PATIENCE_SECONDS)
        return self.profile()


@on_loop
async def test_runs_that_start_together_share_a_reading() -> None:
    home, threads = Home(), ThreadPool(2, name="files")
    profile = LiveProfile(home.profile(), threads)
    home.key = "new"
    runs = [asyncio.create_task(profile.environment()) for _ in range(RUNS)]
    await asyncio.sleep(0)
    home.answer()
    assert {env["PREFECT_API_KEY"] for env in await asyncio.gather(*runs)} == {"new"}
    assert home.readings == 1
    home.key = "newest"
    assert (await profile.credentials()).api_key == "newest"
    assert home.readings == 2
    assert {"old", "new", "newest"} <= profile.secrets
    await threads.aclose()


@on_loop
async def test_a_home_that_does_not_answer_costs_no_run_and_is_said_once() -> None:
    home, threads = Home(), ThreadPool(2, name="files")
    profile = LiveProfile(home.profile(), threads, read_seconds=0.0)
    home.key = "new"
    with capture_logs() as logs:
        for _ in range(3):
            assert (await profile.environment())["PREFECT_API_KEY"] == "old"
    assert [line["event"] for line in logs] == ["api.credentials_unreadable"]
    with pytest.raises(SettingsError, match="not read in 0 s"):
        await profile.credentials()
    assert home.readings <= 1
    home.answer()
    await threads.aclose()


@on_loop
async def test_settings_that_cannot_be_read_leave_those_that_were() -> None:
    def unreadable() -> PrefectProfile:
        raise SettingsError("no valid TOML")

    threads = ThreadPool(2, name="files")
    profile = LiveProfile(Home().profile().model_copy(update={"again": unreadable}), threads)
    with capture_logs() as logs:
        for _ in range(3):
            assert (await profile.environment())["PREFECT_API_KEY"] == "old"
    assert len(logs) == 1
    await threads.aclose()
