"""A worker that takes a run up and is not told its secrets shows nothing that the run prints."""

from __future__ import annotations

import uuid

import pytest

from tests.integration.faults.scene import GATED, Scene, logged
from tests.integration.prefect.waiting import until
from tests.support.faults import Fault, Request

pytestmark = pytest.mark.slow

SECRET = "planted-secret-5f20"
PRINTS = 'echo "the token is $TOKEN!"; '


def asks_for_a_block(request: Request) -> bool:
    """Blocks hold the secrets."""
    return "/block_documents/" in request.path


@pytest.mark.parametrize("refusal", [Fault.ERROR_503, Fault.FORBIDDEN, Fault.PAGE], ids=str)
def test_a_killed_workers_run_ends_truly_though_its_secrets_are_refused(
    scene: Scene, refusal: Fault
) -> None:
    block = f"mine-{uuid.uuid4().hex[:8]}"
    scene.place.admin.create_block("secret", block, {"value": SECRET})
    env = {"TOKEN": f"{{{{ prefect.blocks.secret.{block} }}}}"}
    run = scene.run(PRINTS + GATED + PRINTS + "exit 7", env=env)
    first = scene.start_worker()
    pid = scene.pid_once_started(run)
    until(lambda: scene.place.admin.read_run(run)["infrastructure_pid"])
    first.said("the token is ********!")
    scene.kill(first)
    scene.proxy.weather = lambda request: refusal if asks_for_a_block(request) else None
    worker = scene.start_worker("--limit", "1")
    [adopted] = until(lambda: logged(worker, "run.adopted"))
    assert adopted["pid"] == pid
    until(lambda: "/block_documents/" in repr(logged(worker, "run.delayed")))
    scene.let_go(run)
    scene.ended_as(run, "CRASHED", words="exited with code 7")
    assert "is not shown here" in scene.place.state(run)["message"]
    other = scene.run("exit 0", report_states=True)
    assert scene.place.state_once(other)["type"] == "COMPLETED"
    worker.terminate()
    assert worker.ended() == 0
    assert "the token is" not in worker.printed
    told = repr((scene.place.history(run), scene.place.run_log(run), scene.place.events()))
    assert SECRET not in first.printed + worker.printed + told
    scene.nothing_is_left()
