"""A workshop per test. Afterwards no keeper and no process of any run may be left."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.keeper.kit import ended, keepers_of, marked
from tests.integration.worker.kit import Workshop


@pytest.fixture
def workshop(tmp_path: Path) -> Iterator[Workshop]:
    shop = Workshop(tmp_path)
    yield shop
    for pid in keepers_of(shop.state):
        os.kill(pid, signal.SIGTERM)
        assert ended(pid)
    keys = os.listdir(shop.state.runs) if shop.state.runs.exists() else []
    assert marked(keys) == []
