"""Flows for real engines, as the text of a module: nothing here has Prefect to import."""

from __future__ import annotations

from pathlib import Path
from typing import Final

FLOWS: Final = '''
import atexit
import ctypes
import os
import signal
import threading
import time

from prefect import flow
from prefect.flow_runs import suspend_flow_run


def write(kind, run, *words):
    with open(f"{os.environ['NOTES']}/{kind}-{run}", "a") as file:
        print(*words, file=file)


def noting(name):
    """A hook that writes its name, the state and the process it runs in."""

    def hook(flow, flow_run, state):
        write("hooks", flow_run.id, name, state.type.value, os.getpid())

    hook.__name__ = name
    return [hook]


watched = flow(
    on_running=noting("running"),
    on_completion=noting("completion"),
    on_failure=noting("failure"),
    on_cancellation=noting("cancellation"),
    on_crashed=noting("crashed"),
)


@watched
def succeeds():
    print("hello from the flow")


@watched
def completes_and_exits_with_7():
    atexit.register(lambda: os._exit(7))


@watched
def fails():
    raise ValueError("as planned")


@watched
def is_killed():
    os.kill(os.getpid(), signal.SIGKILL)


@watched
def leaves_at_once():
    os._exit(9)


def is_gated(flow, flow_run, state):
    write("hooks", flow_run.id, "begins", os.getpid())
    while not os.path.exists(f"{os.environ['NOTES']}/go-{flow_run.id}"):
        time.sleep(0.1)
    write("hooks", flow_run.id, "ends", os.getpid())


@flow(on_crashed=[is_gated])
def crashes_with_a_gated_hook():
    os.kill(os.getpid(), signal.SIGKILL)


def waits(flow, flow_run, state):
    write("hooks", flow_run.id, "crashed", state.type.value, os.getpid())
    time.sleep(600)


@flow(on_crashed=[waits])
def crashes_with_a_long_hook():
    os.kill(os.getpid(), signal.SIGKILL)


@watched
def is_terminated():
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(600)


@watched
def sleeps():
    write("body", os.environ["PREFECT__FLOW_RUN_ID"], "sleeping")
    time.sleep(600)


@watched
def ignores_sigterm():
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    write("body", os.environ["PREFECT__FLOW_RUN_ID"], "deaf to SIGTERM")
    time.sleep(600)


@flow(retries=1, retry_delay_seconds=600)
def waits_for_its_retry():
    run = os.environ["PREFECT__FLOW_RUN_ID"]
    threading.Thread(target=die_once_asked, args=(run,), daemon=True).start()
    raise ValueError("try again")


def die_once_asked(run):
    while not os.path.exists(f"{os.environ['NOTES']}/die-{run}"):
        time.sleep(0.1)
    os.kill(os.getpid(), signal.SIGKILL)


@flow
def suspends_and_exits_with_7():
    atexit.register(lambda: os._exit(7))
    suspend_flow_run(timeout=600)


@watched
def hangs():
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    write("body", os.environ["PREFECT__FLOW_RUN_ID"], "no thread will run from now on")
    ctypes.PyDLL(None).sleep(600)  # keeps the interpreter's lock
'''

BOOTS_FOREVER: Final = """
import os
import time

with open(f"{os.environ['NOTES']}/booting", "a") as file:
    print(os.getpid(), file=file)
time.sleep(600)
"""
"""A ``sitecustomize`` that keeps an engine from ever getting to Prefect's code."""

BROKEN: Final = 'raise RuntimeError("this module is broken")\n'


BROKEN_FLOW: Final = "raises_at_import"
"""The flow that would be in ``broken.py``; all others are in ``flows.py``."""


def write_flows(folder: Path) -> None:
    """Put ``flows.py`` and ``broken.py`` into ``folder``."""
    folder.mkdir(exist_ok=True)
    (folder / "flows.py").write_text(FLOWS)
    (folder / "broken.py").write_text(BROKEN)
