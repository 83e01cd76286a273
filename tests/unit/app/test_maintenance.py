"""A server under announced maintenance is no reason to call the worker unhealthy."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from actors import ActorSystem, Settings
from actors.prefect_api.settings.profile import load_profile
from actors.runtime import LoopClock
from actors.testing.processes import ScriptedKeeper, ScriptedLauncher
from tests.support.http_server import Reply, ScriptedServer

PATIENCE_SECONDS = 60.0
ANNOUNCED_SECONDS = 3600.0


class ClockAhead(LoopClock):
    """A clock that can be put forward; timers do not notice."""

    ahead = 0.0

    def monotonic(self) -> float:
        return super().monotonic() + self.ahead


def test_a_worker_is_healthy_for_as_long_as_maintenance_was_announced(tmp_path: Path) -> None:
    headers = {"Prefect-Maintenance": "true", "Retry-After": str(ANNOUNCED_SECONDS)}
    server = ScriptedServer(default=Reply(503, headers=headers))
    python = tmp_path / "python"
    python.write_text(f"#!{sys.executable}\nprint('3.8.8')\n")
    python.chmod(0o700)

    async def story() -> None:
        clock = ClockAhead()
        prefect = load_profile({"PREFECT_API_URL": server.url}, cwd=tmp_path, home=tmp_path)
        settings = Settings(
            pool="p", name="w", python=str(python), state_dir=tmp_path / "state", prefect=prefect
        )
        launcher = ScriptedLauncher(ScriptedKeeper(clock, lambda _: None))
        async with (
            asyncio.timeout(PATIENCE_SECONDS),
            ActorSystem(settings, launcher=launcher, clock=clock) as system,
        ):
            while system.adapters.ports.maintenance_until() is None:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
            clock.ahead = ANNOUNCED_SECONDS
            assert (await system.health()).healthy
            # an answer that is under way announces it once more, from the clock's new time on
            while (await system.health()).healthy:
                clock.ahead += 10 * ANNOUNCED_SECONDS

    with server:
        asyncio.run(story())
