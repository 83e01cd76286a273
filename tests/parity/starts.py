"""What a worker says and does when it cannot work: no such queue, pool or server."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from typing import Final

from actors.job.configuration import default_base_job_template
from tests.parity.sides import Side

NOBODY: Final = "http://127.0.0.1:9/api"
"""Port 9 is discard's: nothing listens there."""

ENDS_WITHIN: Final = 120.0


def _says(side: Side, *options: str, variables: Mapping[str, str] | None = None) -> str:
    """How it ends, and whether it claimed to have started and stopped."""
    with side.worker(*options, variables=variables) as worker:
        try:
            end = f"exits with {worker.process.wait(ENDS_WITHIN)}"
        except subprocess.TimeoutExpired:
            end = "goes on"
    printed = worker.printed
    said = [word for word in ("started!", "stopped!") if word in printed]
    trace = ["a traceback"] if "Traceback" in printed else []
    return f"{end}; says {', '.join(said + trace) or 'neither started! nor stopped!'}"


def an_unknown_queue(side: Side) -> str:
    return _says(side, "--work-queue", "no-such-queue")


def an_unknown_queue_once(side: Side) -> str:
    return _says(side, "--work-queue", "no-such-queue", "--run-once")


def a_push_pool(side: Side) -> str:
    side.place.pool = f"push {side.place.pool}"
    template = default_base_job_template()
    side.place.create_pool(type="cloud-run:push", base_job_template=template)
    return _says(side)


def a_pool_that_may_not_be_created(side: Side) -> str:
    side.place.pool = f"missing {side.place.pool}"
    return _says(side, "--no-create-pool-if-not-found")


def a_pool_that_may_not_be_created_once(side: Side) -> str:
    side.place.pool = f"missing {side.place.pool}"
    return _says(side, "--no-create-pool-if-not-found", "--run-once")


def a_server_that_is_not_there_once(side: Side) -> str:
    hasty = {"PREFECT_API_URL": NOBODY, "PREFECT_CLIENT_MAX_RETRIES": "0"}
    return _says(side, "--run-once", variables=hasty)


def a_server_that_is_not_there(side: Side) -> str:
    hasty = {"PREFECT_API_URL": NOBODY, "PREFECT_CLIENT_MAX_RETRIES": "0"}
    return _says(side, variables=hasty)


SCENARIOS = (
    an_unknown_queue,
    an_unknown_queue_once,
    a_push_pool,
    a_pool_that_may_not_be_created,
    a_pool_that_may_not_be_created_once,
    a_server_that_is_not_there_once,
    a_server_that_is_not_there,
)
