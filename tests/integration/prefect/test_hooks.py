"""Which hooks of a flow run, in which process, on which version of Prefect.

This worker leaves all hooks to the engine: it does not import flows. That is how Prefect's own
worker was before 3.3; from then on it runs cancellation and crash hooks by itself, in a process
of its own, even after an engine that was killed. Where an engine is killed outright, or is older
than 3.7 and ended by SIGTERM, nobody is left to run them: the declared difference.
"""

from __future__ import annotations

import pytest

from tests.integration.prefect.gallery import Gallery

pytestmark = pytest.mark.series()

NEW_ENGINE = {
    "succeeds": ["running RUNNING", "completion COMPLETED"],
    "completes_and_exits_with_7": ["running RUNNING", "completion COMPLETED"],
    "fails": ["running RUNNING", "failure FAILED"],
    "raises_at_import": [],
    "is_killed": ["running RUNNING"],
    "is_terminated": ["running RUNNING", "crashed CRASHED"],
    "sleeps": ["running RUNNING", "cancellation CANCELLING"],
    "ignores_sigterm": ["running RUNNING"],
}

OLD_ENGINE = NEW_ENGINE | {
    "is_terminated": ["running RUNNING"],
    "sleeps": ["running RUNNING"],
}


@pytest.mark.parametrize("name", NEW_ENGINE)
def test_hooks_run_in_the_engine_or_not_at_all(gallery: Gallery, name: str) -> None:
    picture = gallery[name]
    expected = NEW_ENGINE if gallery.place.server_series >= (3, 8) else OLD_ENGINE
    hooks = picture.hooks()
    assert [f"{hook} {state}" for hook, state, _ in hooks] == expected[name]
    assert {pid for _, _, pid in hooks} <= {picture.pid}
