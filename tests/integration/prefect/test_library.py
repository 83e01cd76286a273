"""``ProcessWorker.start``, as programs call it that drove Prefect's worker themselves."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest

from actors import ProcessWorker
from actors.domain.errors import OrchestratorError
from actors.prefect_api.settings.profile import load_profile
from tests.integration.prefect.kit import Place, get
from tests.integration.prefect.waiting import PATIENCE, until

NOBODY = "http://127.0.0.1:9/api"
"""Port 9 is discard's: nothing listens there."""

NOBODY_THERE = (0, None)


def a_worker(place: Place, **settings: Any) -> ProcessWorker:
    variables = place.variables() | settings.pop("variables", {})
    given: dict[str, Any] = {
        "name": "library",
        "state_dir": place.folder / "state",
        "python": place.python,
        "query_seconds": 0.5,
        "embedded": True,
        "prefect": load_profile(variables, cwd=place.folder, home=place.folder),
    }
    return ProcessWorker(place.pool, **given | settings)


class Starting:
    """A call of ``start`` in a thread of its own, which ends when it is cancelled."""

    def __init__(self, worker: ProcessWorker, **arguments: Any) -> None:
        self._thread = threading.Thread(target=self._work, args=(worker, arguments))
        self._cancel: Callable[[], object] = lambda: None
        self._is_up = threading.Event()

    def _work(self, worker: ProcessWorker, arguments: dict[str, Any]) -> None:
        async def life() -> None:
            loop, task = asyncio.get_running_loop(), asyncio.current_task()
            assert task is not None
            self._cancel = lambda: loop.call_soon_threadsafe(task.cancel)
            self._is_up.set()
            with suppress(asyncio.CancelledError):
                await worker.start(**arguments)

        asyncio.run(life())

    def __enter__(self) -> Starting:
        self._thread.start()
        assert self._is_up.wait(PATIENCE)
        return self

    def __exit__(self, *_: object) -> None:
        self._cancel()
        self._thread.join(PATIENCE)
        assert not self._thread.is_alive()


@pytest.mark.series
def test_start_works_a_single_round_when_told_to_and_tells_the_printer(place: Place) -> None:
    due = [place.run("true", report_states=True), place.run("false", report_states=True)]
    printed: list[str] = []
    asyncio.run(a_worker(place).start(run_once=True, printer=printed.append))
    assert [place.state(run)["type"] for run in due] == ["COMPLETED", "FAILED"]
    assert printed == ["Worker 'library' started!", "Worker 'library' stopped!"]


def test_start_works_until_it_is_cancelled_and_serves_its_health_meanwhile(
    place: Place, port: int
) -> None:
    printed: list[str] = []
    worker = a_worker(place, health_host="127.0.0.1", health_port=port)
    with Starting(worker, with_healthcheck=True, printer=printed.append):
        for _ in range(2):
            place.state_once(place.run("true", report_states=True))
        answer = until(lambda: get(f"http://127.0.0.1:{port}/health"), lambda it: it[0] == 200)
        assert answer == (200, {"message": "OK"})
    assert printed == ["Worker 'library' started!", "Worker 'library' stopped!"]


def test_start_serves_no_health_unless_it_is_told_to(place: Place, port: int) -> None:
    with Starting(a_worker(place, health_host="127.0.0.1", health_port=port)):
        place.state_once(place.run("true", report_states=True))
        assert get(f"http://127.0.0.1:{port}/health") == NOBODY_THERE


def test_a_single_round_without_a_server_raises_what_is_the_matter(place: Place) -> None:
    worker = a_worker(place, variables={"PREFECT_API_URL": NOBODY})
    printed: list[str] = []
    with pytest.raises(OrchestratorError, match="is the server running"):
        asyncio.run(worker.start(run_once=True, printer=printed.append))
    assert printed == []
