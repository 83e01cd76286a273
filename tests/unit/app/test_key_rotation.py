"""A key that is rotated while the worker is at work reaches the runs, and shows nowhere."""

from __future__ import annotations

import asyncio
import json
import os
import shlex
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from structlog.testing import capture_logs

from actors import ActorSystem, Settings
from actors.app.adapters import Adapters, open_adapters
from actors.domain.ids import ClaimKey, new_transition_id
from actors.domain.masking import masker_of
from actors.domain.model import WorkPool
from actors.domain.record import Phase, RunRecord
from actors.job.job import PreparedJob
from actors.prefect_api.settings.profile import load_profile
from actors.runtime import LoopClock
from actors.testing.processes import ScriptedKeeper, ScriptedLauncher
from tests.support.builders import POOL, a_run
from tests.support.http_server import Handler, Reply, ScriptedServer

PATIENCE_SECONDS = 60.0
ROOT = Path(__file__).parents[3]
POOL_JSON = {"id": "pool-id", "name": POOL.name, "base_job_template": {"variables": {}}}
OLD, NEW = "pnu_old-key-4e1f", "pnu_new-key-77d0"


class Keyholder:
    """A server that lets one key in, and a user with a profile."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.valid = OLD
        self.server = ScriptedServer(default=self._answer)
        self.write(OLD)
        self.python = folder / "python"
        self.python.write_text(
            f"#!/bin/sh\nexec {shlex.quote(sys.executable)} -c 'print(\"3.8.8\")'\n"
        )
        self.python.chmod(0o700)

    def write(self, key: str) -> None:
        """Put ``key`` into the active profile."""
        path = self.folder / ".prefect" / "profiles.toml"
        path.parent.mkdir(exist_ok=True)
        lines = ['active = "mine"', "[profiles.mine]", f'PREFECT_API_KEY = "{key}"']
        path.write_text("\n".join([*lines, f'PREFECT_API_URL = "{self.server.url}"']))

    def settings(self) -> Settings:
        profile = load_profile({}, cwd=self.folder, home=self.folder)
        return Settings(
            pool=POOL.name,
            name="w",
            python=str(self.python),
            state_dir=self.folder / "state",
            prefect=profile,
        )

    @asynccontextmanager
    async def adapters(self) -> AsyncIterator[tuple[Adapters, Settings]]:
        async with AsyncExitStack() as opened:
            clock, settings = LoopClock(), self.settings()
            yield (
                await open_adapters(settings, opened, clock=clock, launcher=a_launcher()),
                settings,
            )

    def _answer(self, handler: Handler) -> None:
        if handler.headers["Authorization"] != f"Bearer {self.valid}":
            Reply(401, {"exception_message": "Unauthorized"})(handler)
        elif handler.path.startswith("/api/flows/"):
            Reply(200, {"id": str(UUID(int=1)), "name": "hello"})(handler)
        elif handler.path == f"/api/work_pools/{POOL.name}":
            # a server that quotes the key: only the log itself can mask that
            Reply(200, POOL_JSON | {"type": f"like-{NEW}"})(handler)
        else:
            Reply(200, [])(handler)


def a_launcher() -> ScriptedLauncher:
    return ScriptedLauncher(ScriptedKeeper(LoopClock(), lambda _: None))


@contextmanager
def at_most(seconds: float, program: subprocess.Popen[bytes]) -> Iterator[None]:
    """A program that does not come to its end by itself is killed, so that its output ends."""
    timer = threading.Timer(seconds, program.kill)
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        timer.join()


@pytest.fixture
def holder(tmp_path: Path) -> Keyholder:
    return Keyholder(tmp_path)


async def prepared(adapters: Adapters, settings: Settings, pool: WorkPool = POOL) -> PreparedJob:
    run = a_run(deployment_id=None, job_variables={"command": "true"})
    record = RunRecord(
        key=ClaimKey("key"), worker="w", run=run, claim=new_transition_id(), phase=Phase.PREPARING
    )
    return await adapters.job_preparer.prepare_job(record, pool)


def test_a_run_that_starts_after_the_old_key_was_refused_has_the_new_one(
    holder: Keyholder,
) -> None:
    async def story() -> None:
        async with holder.adapters() as (adapters, settings):
            await adapters.ports.orchestrator.read_work_pool(POOL.name)
            before = await prepared(adapters, settings)
            assert before.order.env["PREFECT_API_KEY"] == OLD
            holder.write(NEW)
            holder.valid = NEW
            await adapters.ports.orchestrator.read_work_pool(POOL.name)
            after = await prepared(adapters, settings)
            assert after.order.env["PREFECT_API_KEY"] == NEW
            assert after.masker.text(f"{OLD} {NEW}") == "******** ********"

    with holder.server:
        asyncio.run(story())


def test_a_run_has_the_new_key_while_the_old_one_is_still_good(holder: Keyholder) -> None:
    async def story() -> None:
        async with holder.adapters() as (adapters, settings):
            await adapters.ports.orchestrator.read_work_pool(POOL.name)
            holder.write(NEW)
            preparation = await prepared(adapters, settings)
            assert preparation.order.env["PREFECT_API_KEY"] == NEW
            assert preparation.masker.text(NEW) == "********"

    with holder.server:
        asyncio.run(story())


def test_a_run_speaks_to_the_server_of_its_worker_whatever_the_profile_says_by_now(
    holder: Keyholder,
) -> None:
    async def story() -> None:
        async with holder.adapters() as (adapters, settings):
            profile = holder.folder / ".prefect" / "profiles.toml"
            profile.write_text(profile.read_text().replace(holder.server.url, "http://other/api"))
            preparation = await prepared(adapters, settings)
            assert preparation.order.env["PREFECT_API_URL"] == holder.server.url

    with holder.server:
        asyncio.run(story())


def test_a_profile_that_cannot_be_read_leaves_the_key_as_it_was_and_is_said_once(
    holder: Keyholder,
) -> None:
    async def story() -> None:
        async with holder.adapters() as (adapters, settings):
            (holder.folder / "prefect.toml").write_text("half a [line")
            for _ in range(2):
                preparation = await prepared(adapters, settings)
                assert preparation.order.env["PREFECT_API_KEY"] == OLD

    with holder.server, capture_logs() as logs:
        asyncio.run(story())
    said = [line for line in logs if line["event"] == "api.credentials_unreadable"]
    assert len(said) == 1


def test_the_log_of_the_worker_masks_the_new_key_too(holder: Keyholder) -> None:
    system = ActorSystem(holder.settings(), launcher=a_launcher())

    async def story() -> None:
        assert masker_of(system.secrets).text(f"{OLD} {NEW}") == f"******** {NEW}"
        async with system:
            holder.write(NEW)
            holder.valid = NEW
            await system.adapters.ports.orchestrator.read_work_pool(POOL.name)
            assert masker_of(system.secrets).text(f"{OLD} {NEW}") == "******** ********"

    with holder.server:
        asyncio.run(story())


def test_the_program_starts_to_mask_the_new_key_when_it_finds_it(holder: Keyholder) -> None:
    holder.valid = NEW
    environ = {name: value for name, value in os.environ.items() if "PREFECT" not in name}
    environ |= {"HOME": str(holder.folder), "ACTOR_WORKER_EMBEDDED": "true"}
    command = [sys.executable, "-m", "actors", "start", "--pool", POOL.name]
    command += ["--python", str(holder.python), "--state-dir", str(holder.folder / "state")]
    command += ["--log-format", "json", "--name", "w"]
    with (
        holder.server,
        subprocess.Popen(
            command, env=environ, cwd=ROOT, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL
        ) as worker,
        at_most(PATIENCE_SECONDS, worker),
    ):
        assert worker.stderr is not None
        said: list[dict[str, Any]] = []
        for line in worker.stderr:
            said.append(json.loads(line))
            if said[-1]["event"] == "pool.sync_failed":
                holder.write(NEW)
            if said[-1]["event"] == "pool.type_mismatch":
                worker.terminate()
    assert worker.returncode == 0
    assert [line["actual"] for line in said if line["event"] == "pool.type_mismatch"] == [
        "like-********"
    ]
    assert NEW not in json.dumps(said)
