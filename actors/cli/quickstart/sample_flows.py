"""Four flows to watch: one succeeds, one fails, one crashes and one waits to be cancelled.

Change them as you like: quickstart copies this file into its own folder, and every flow run loads
it afresh from there.
"""

import os
import signal
import time

from prefect import flow, get_run_logger, task


@task
def square(number: int) -> int:
    """The square of a number."""
    return number * number


@flow(name="succeeds", log_prints=True)
def succeeds(numbers: int = 5) -> int:
    """Runs a few tasks and is done: Completed."""
    total = sum(square(number) for number in range(numbers))
    print(f"the squares of {numbers} numbers add up to {total}")
    return total


@flow(name="fails")
def fails() -> None:
    """Raises, as a flow with a mistake in it does: Failed, and Prefect says so itself."""
    get_run_logger().info("this flow is about to raise")
    raise ValueError("this flow fails on purpose")


@flow(name="crashes", log_prints=True)
def crashes() -> None:
    """Is killed, as by a kernel out of memory: Crashed, and only the worker is left to say so."""
    print("this process is about to be killed")
    os.kill(os.getpid(), signal.SIGKILL)


@flow(name="gets-cancelled", log_prints=True)
def gets_cancelled(seconds: float = 3600) -> None:
    """Works for an hour unless it is cancelled before: Cancelled."""
    print(f"this flow takes {seconds:g} seconds unless somebody cancels it")
    time.sleep(seconds)
