"""A worker that is started in a folder where others can write imports nothing from there."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.integration.prefect.kit import Place
from tests.integration.prefect.workers import ACTOR_WORKER
from tests.support.trap import EVERYTHING, TEMPTING, Trap

SCRIPT = Path(sys.executable).with_name("actor-worker")


@pytest.mark.parametrize(
    ("command", "modules"),
    [
        pytest.param([str(SCRIPT)], EVERYTHING, id="the command"),
        pytest.param([sys.executable, "-P", "-m", "actors"], EVERYTHING, id="python -P -m"),
        # of modules such as contextlib, `python -m` imports some before a program can help it
        pytest.param(ACTOR_WORKER, TEMPTING, id="python -m"),
    ],
)
def test_neither_worker_nor_keeper_nor_engine_imports_from_it(
    place: Place, command: Sequence[str], modules: Sequence[str]
) -> None:
    if not SCRIPT.exists():
        pytest.skip("actor-worker is not installed beside this interpreter")
    trap = Trap(place.folder / "trap", modules)
    run = place.admin.create_run(place.deploy_flow("succeeds"))
    with place.worker_program("--run-once", command=command, cwd=trap.path) as worker:
        assert worker.ended() == 0
    assert place.state(run)["type"] == "COMPLETED"
    assert trap.sprung == []
