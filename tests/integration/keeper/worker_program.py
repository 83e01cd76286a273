"""A worker to be killed: spawns one run in the state folder, says so, and waits for its end."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path

from actors.journal.state_folder import StateFolder
from actors.processes.launcher import KeeperLauncher
from tests.integration.keeper.kit import Facts, lasting, shell


async def work(folder: Path, script: str) -> None:
    state = StateFolder(folder)
    launcher: KeeperLauncher = lasting(state)
    await launcher.start()
    facts, wanted = Facts(), shell(state, script)
    identity = await launcher.spawn(wanted, facts)
    await facts.line("ready")
    print(json.dumps([wanted.key, identity.pid, launcher.keeper_pid]), flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(work(Path(sys.argv[1]), sys.argv[2]))
