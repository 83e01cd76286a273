"""The two kinds of actor as a fixture."""

from __future__ import annotations

from collections.abc import Iterator

import pykka
import pytest

from tests.runtime.kinds import SECONDS, Kind, asyncio_kind, threading_kind


@pytest.fixture(params=[threading_kind, asyncio_kind], ids=["threading", "asyncio"])
def kind(request: pytest.FixtureRequest) -> Iterator[Kind]:
    with request.param() as made:
        yield made
        pykka.ActorRegistry.stop_all(timeout=SECONDS)
