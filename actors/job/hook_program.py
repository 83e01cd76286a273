"""Runs a flow's hooks in the interpreter that ran its engine, which is gone.

Uses the standard library and the public parts of Prefect that every 3.x has. Arguments: the kind
of hooks, ``crashed`` or ``cancellation``, and the id of the state to pass, or nothing.
"""

import asyncio
import inspect
import os
import sys
import uuid


async def main(kind, state_id):
    """Return 1 if a hook has failed."""
    import prefect.main  # noqa: F401 - Prefect 3.1 needs it for its models
    from prefect.client.orchestration import get_client
    from prefect.flows import load_flow_from_flow_run
    from prefect.logging.loggers import flow_run_logger

    run_id = uuid.UUID(os.environ["PREFECT__FLOW_RUN_ID"])
    async with get_client() as client:
        flow_run = await client.read_flow_run(run_id)
        states = await client.read_flow_run_states(run_id)
    flow_run.state = next((s for s in states if str(s.id) == state_id), flow_run.state)
    flow = load_flow_from_flow_run(flow_run, use_placeholder_flow=False)
    if inspect.isawaitable(flow):
        flow = await flow
    hooks = (flow.on_crashed_hooks if kind == "crashed" else flow.on_cancellation_hooks) or []
    logger = flow_run_logger(flow_run, flow)
    failed = 0
    for hook in hooks:
        name = getattr(hook, "__name__", None) or type(hook).__name__
        logger.info(f"Running hook {name!r} in response to entering state {flow_run.state.name!r}")
        try:
            result = hook(flow, flow_run, flow_run.state)
            if inspect.isawaitable(result):
                await result
        except Exception:
            failed += 1
            logger.error(f"An error was encountered while running hook {name!r}", exc_info=True)
        else:
            logger.info(f"Hook {name!r} finished running successfully")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(asyncio.run(main(*sys.argv[1:])))
