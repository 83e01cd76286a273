"""Runs the sample flows on the server of the environment, and shows how they end.

Run by the interpreter that has Prefect; the argument is the folder of the flows. The exit code is
0 when every run ended as expected.
"""

import asyncio
import os
import sys
import textwrap
import time
from contextlib import suppress

import httpx
from prefect import get_client  # from here its models are complete on every version
from prefect.client.schemas.actions import WorkPoolCreate
from prefect.exceptions import ObjectAlreadyExists
from prefect.states import Cancelling

POOL = "quickstart"
EXPECTED = {
    "succeeds": "Completed",
    "fails": "Failed",
    "crashes": "Crashed",
    "gets-cancelled": "Cancelled",
}
"""The sample flows, and how a run of each is to end."""

RUNS_SECONDS = 240.0
"""How long the four runs may take; 15 s is usual."""
LOOK_SECONDS = 0.5


async def start(client, flow, folder):
    """Deploy a flow, and create a run that is due at once."""
    deployment = await client.create_deployment(
        flow_id=await client.create_flow_from_name(flow),
        name=POOL,
        work_pool_name=POOL,
        path=folder,
        entrypoint=f"sample_flows.py:{flow.replace('-', '_')}",
        tags=["actor-worker quickstart"],
    )
    return await client.create_flow_run_from_deployment(deployment)


async def follow(client, runs):
    """Follow the runs until all are over or time is up; cancel the one that waits for that."""
    deadline = time.monotonic() + RUNS_SECONDS
    while not all(run.state.is_final() for run in runs.values()) and time.monotonic() < deadline:
        await asyncio.sleep(LOOK_SECONDS)
        for flow, before in runs.items():
            if before.state.is_final():
                continue
            runs[flow] = run = await client.read_flow_run(before.id)
            if run.state.name != before.state.name:
                print(f"  {flow}: {run.state.name}")
                if (flow, run.state.name) == ("gets-cancelled", "Running"):
                    await client.set_flow_run_state(run.id, Cancelling())


def pages():
    """The address of the server's pages of runs.

    Prefect 3.8 has two kinds of pages. Those at ``/`` show errors to a person who follows a link
    without authorization; those at ``/v2`` ask for it.
    """
    address = os.environ["PREFECT_API_URL"].removesuffix("/api")
    user, _, password = os.environ["PREFECT_API_AUTH_STRING"].partition(":")
    settings = httpx.get(f"{address}/ui-settings", auth=(user, password)).json()
    return f"{address}{settings.get('v2_base_url') or ''}/runs/flow-run"


def show(runs):
    """Print a table of the runs with what became of them."""
    print(f"\n{'FLOW':16}{'STATE':11}{'TOOK':8}PAGE")
    address = pages()
    for flow, run in runs.items():
        took = f"{run.total_run_time.total_seconds():.1f} s"
        print(f"{flow:16}{run.state.name:11}{took:8}{address}/{run.id}")
        if run.state.message:
            print(f"{'':16}{textwrap.shorten(run.state.message, 100, placeholder='...')}")
    print()


async def main(folder):
    """Carry out the runs; whether all of them ended as expected."""
    async with get_client() as client:
        with suppress(ObjectAlreadyExists):  # the worker creates it, too
            await client.create_work_pool(WorkPoolCreate(name=POOL, type="process"))
        print("The server answers. Running the sample flows:")
        runs = {flow: await start(client, flow, folder) for flow in EXPECTED}
        await follow(client, runs)
    show(runs)
    return all(EXPECTED[flow] == run.state.name for flow, run in runs.items())


if __name__ == "__main__":
    sys.stdout.reconfigure(line_buffering=True)
    sys.exit(0 if asyncio.run(main(sys.argv[1])) else 1)
