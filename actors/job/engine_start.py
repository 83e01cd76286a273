"""Starts Prefect's engine for a flow whose code pull steps bring: a program of its own.

The interpreter that runs the flow starts this file, so it uses the standard library and that
interpreter's Prefect alone, and the syntax of Python 3.9::

    PYTHON engine_start.py -m prefect.engine        the engine, in this process
    PYTHON engine_start.py --uv -m prefect.engine   or uv's, if the project is for it

The working directory and the import path are known once the pull steps have run. The flow, and
by PYTHONPATH what it starts, finds the modules there, as with Prefect's own worker.
"""

from __future__ import annotations

import functools
import importlib
import os
import runpy
import sys
import traceback
from typing import Any

NO_FILE = os.path.join(os.devnull, "none")


def main() -> None:
    """Take the place of ``python -m prefect.engine``."""
    if not getattr(sys.flags, "safe_path", False):
        sys.path[0] = os.getcwd()
    if "--uv" in sys.argv:
        sys.exit(_prepare_and_execute())
    _set_python_path_before_loading()
    sys.argv = sys.argv[:1]
    runpy.run_module("prefect.engine", run_name="__main__", alter_sys=True)


def _set_python_path_before_loading() -> None:
    """The engine loads the flow when its pull steps are done."""
    flows: Any = importlib.import_module("prefect.flows")
    load = flows.load_flow_from_entrypoint
    known = frozenset(sys.path)

    @functools.wraps(load)
    def set_path_and_load(*args: Any, **options: Any) -> Any:
        flows.load_flow_from_entrypoint = load
        os.environ["PYTHONPATH"] = python_path(known)
        if os.getcwd() not in sys.path:
            sys.path.insert(0, os.getcwd())
        return load(*args, **options)

    flows.load_flow_from_entrypoint = set_path_and_load


def python_path(known: frozenset[str]) -> str:
    """The working directory, what pull steps have added to the import path, and the old value."""
    added = [os.path.abspath(path) for path in sys.path if path not in known]
    old = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    return os.pathsep.join(filter(None, dict.fromkeys([os.getcwd(), *added, *old])))


def _prepare_and_execute() -> int:
    """Prepare the workspace as Prefect's worker does from 3.8.4 on, and become the engine.

    That part of Prefect runs the pull steps, looks for a project, and chooses uv or this
    interpreter. It also writes down the run's environment, for hooks that its worker runs, and
    tells the engine to leave hooks alone; neither is wanted here.
    """
    anyio: Any = importlib.import_module("anyio")
    supervisor: Any = importlib.import_module("prefect.runner._workspace_supervisor")

    async def become(command: list[str], *, cwd: Any, environment: dict[str, str]) -> int:
        environment.pop("PREFECT__ENABLE_CANCELLATION_AND_CRASHED_HOOKS", None)
        os.chdir(cwd)
        os.execvpe(command[0], command, environment)

    vars(supervisor).update(write_private_model=lambda path, model: None, _launch_engine=become)
    config = supervisor.WorkspaceSupervisorConfig(
        flow_run_id=os.environ["PREFECT__FLOW_RUN_ID"],
        workspace_root=os.getcwd(),
        manifest_path=NO_FILE,
    )

    async def supervise() -> int:
        try:
            code: int = await supervisor.supervise(config)
            return code
        except Exception:
            traceback.print_exc()
            return 1
        finally:
            await supervisor.APILogHandler.aflush()

    code: int = anyio.run(supervise)
    return code


if __name__ == "__main__":
    main()
