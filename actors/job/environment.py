"""The environment of a run's process, layer by layer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from ..domain.errors import InvalidJob
from ..domain.model import Deployment, Flow, FlowRun

_SYSTEMD: Final = ("NOTIFY_SOCKET", "WATCHDOG_PID", "WATCHDOG_USEC", "LISTEN_PID", "LISTEN_FD")
"""Meant for the worker alone: see sd_notify(3), sd_watchdog_enabled(3), sd_listen_fds(3)."""

_KEPT_BACK: Final = (*_SYSTEMD, "ACTOR_WORKER_", "PREFECT__")
"""Beginnings of variables that are not for runs, among them the worker's own settings and what
tells an engine about its run: a worker that a flow run started inherits the wrong ones."""


def run_environment(
    *,
    base: Mapping[str, str],
    prefect_settings: Mapping[str, str],
    run: FlowRun,
    deployment: Deployment | None,
    flow: Flow | None,
    worker_name: str,
    job_env: Mapping[str, str | None],
) -> dict[str, str]:
    """The whole environment of ``run``'s process, from the lowest layer to the highest.

    ``base`` is the worker's environment; variables meant for the worker alone are left out.
    ``prefect_settings`` are all ``PREFECT_*`` settings that are set, in any source. ``job_env``
    wins over both, as in Prefect before 3.8; null removes a setting or an attribution, but never
    a variable of ``base``. Raises InvalidJob for a name or value that no
    environment can hold.
    """
    layers = {
        **prefect_settings,
        **_attribution(run=run, deployment=deployment, flow=flow, worker_name=worker_name),
        **job_env,
    }
    _check(job_env)
    return {
        **{name: value for name, value in base.items() if not name.startswith(_KEPT_BACK)},
        **{name: value for name, value in layers.items() if value is not None},
    }


def _attribution(
    *, run: FlowRun, deployment: Deployment | None, flow: Flow | None, worker_name: str
) -> dict[str, str]:
    known: dict[str, str | None] = {
        "PREFECT__FLOW_RUN_ID": run.id,
        "PREFECT__FLOW_ID": run.flow_id,
        "PREFECT__FLOW_NAME": flow.name if flow else None,
        "PREFECT__DEPLOYMENT_ID": run.deployment_id,
        "PREFECT__DEPLOYMENT_NAME": deployment.name if deployment else None,
        "PREFECT__WORKER_NAME": worker_name,
    }
    return {name: value for name, value in known.items() if value}


def can_be_passed(text: str) -> bool:
    """Whether a process can be given ``text`` as an argument or in its environment."""
    try:
        return b"\0" not in text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return False


def _check(job_env: Mapping[str, str | None]) -> None:
    for name, value in job_env.items():
        if not name or "=" in name or not can_be_passed(name):
            raise InvalidJob(
                f"Job variable 'env' has an entry called {name!r}, which cannot be the name of "
                "an environment variable: it must not be empty nor hold '=' or NUL."
            )
        if value is not None and not can_be_passed(value):
            raise InvalidJob(
                f"The value of {name!r} in job variable 'env' cannot be passed to a process: "
                "it holds a NUL character or broken Unicode."
            )
