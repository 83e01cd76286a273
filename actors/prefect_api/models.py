"""What a Prefect server sends, read leniently into domain objects.

Servers from 3.0 to 3.8 use the same names, most of them the domain's own. Older ones leave some
fields out, and any field may be null. So unknown keys are dropped, null counts as absent, and
only what the worker cannot do without is required.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from functools import lru_cache
from typing import Annotated, Final, TypeVar
from uuid import UUID

import structlog
from pydantic import AfterValidator, Field, TypeAdapter, ValidationError

from ..domain.errors import Unavailable
from ..domain.model import (
    Aborted,
    Accepted,
    Deployment,
    Flow,
    FlowRun,
    Json,
    Rejected,
    State,
    Verdict,
    Wait,
    WorkPool,
    WorkQueue,
)

T = TypeVar("T")

_log = structlog.get_logger(__name__)

MAX_REPORTS: Final = 1_000
"""Items that are remembered as reported."""

MAX_ID_SHOWN: Final = 64
"""Characters of an id in the log: a broken item may have any text there."""

Object = dict[str, Json]


def _in_utc(moment: datetime) -> datetime:
    if moment.tzinfo is None:
        return moment.replace(tzinfo=UTC)
    try:
        return moment.astimezone(UTC)
    except OverflowError:  # the first hours of the year 1, the last ones of 9999
        raise ValueError("this moment is in no year of UTC") from None


@dataclass(frozen=True, slots=True)
class _Details:
    """The details of a verdict: why, and for how long."""

    reason: str = ""
    delay_seconds: Annotated[float, Field(ge=0.0, allow_inf_nan=False)] = 0.0


_POOL: Final = TypeAdapter(WorkPool)
_QUEUE: Final = TypeAdapter(WorkQueue)
_DEPLOYMENT: Final = TypeAdapter(Deployment)
_FLOW: Final = TypeAdapter(Flow)
_STATE: Final = TypeAdapter(State)
_RUN: Final = TypeAdapter(FlowRun)
_DETAILS: Final = TypeAdapter(_Details)
_MOMENT: Final = TypeAdapter(Annotated[datetime, AfterValidator(_in_utc)])

_KNOWN_OF_RUNS: Final = frozenset(field.name for field in fields(FlowRun)) | {
    "state_type",
    "state_name",
    "next_scheduled_start_time",
    "expected_start_time",
}


def to_work_pool(value: Json) -> WorkPool:
    """``GET /work_pools/{name}``."""
    return _POOL.validate_python({"base_job_template": {}} | _object(value))


def to_work_queue(value: Json) -> WorkQueue:
    """One of ``POST /work_pools/{name}/queues/filter``."""
    return _QUEUE.validate_python(_object(value))


def to_deployment(value: Json) -> Deployment:
    """``GET /deployments/{id}``."""
    deployment = _object(value, "id", "flow_id")
    brings_code = any(map(deployment.get, ("pull_steps", "storage_document_id", "path")))
    entrypoint = str(deployment.get("entrypoint", ""))
    is_file = ":" in entrypoint  # else it is a module
    return _DEPLOYMENT.validate_python(
        {"name": ""}
        | deployment
        | {
            "has_pull_steps": bool(deployment.get("pull_steps")),
            "local_entrypoint": entrypoint if is_file and not brings_code else None,
        }
    )


def to_flow(value: Json) -> Flow:
    """``GET /flows/{id}``."""
    return _FLOW.validate_python(_object(value, "id"))


def to_block_data(value: Json) -> Json:
    """A block document; only its data is used."""
    return _object(_object(value).get("data"))


def to_state(value: Json) -> State:
    """A flow run's state."""
    state = _object(value)
    name = state.get("name") or str(state.get("type")).capitalize()
    return _STATE.validate_python(
        state | {"name": name, "details": state.get("state_details", {})}
    )


def to_flow_run(value: Json) -> FlowRun:
    """A flow run. From a poll its state is null; the type and name are fields of the run itself.

    Fields that the worker does not use are kept: templates may name them.
    """
    run = _object(value, "id", "flow_id", "deployment_id")
    due = run.get("next_scheduled_start_time") or run.get("expected_start_time")
    state = run.get("state") or {"type": run.get("state_type"), "name": run.get("state_name")}
    # An engine says so of a retry that it waits for itself; servers before 3.1.3 drop that.
    policy = run.get("empirical_policy")
    in_process = isinstance(policy, dict) and policy.get("retry_type") == "in_process"
    return _RUN.validate_python(
        {"name": ""}
        | run
        | {
            "state": to_state(state),
            "due": None if due is None else _MOMENT.validate_python(due),
            "retries_in_process": in_process,
            "others": {key: run[key] for key in run.keys() - _KNOWN_OF_RUNS},
        }
    )


def to_due_run(value: Json) -> FlowRun:
    """One of ``POST /work_pools/{name}/get_scheduled_flow_runs``."""
    return to_flow_run(_object(value).get("flow_run"))


def to_verdict(value: Json) -> Verdict:
    """The answer to ``POST /flow_runs/{id}/set_state``; ``status`` is what counts."""
    answer = _object(value)
    details = _DETAILS.validate_python(_object(answer.get("details", {})))
    state = to_state(answer["state"]) if "state" in answer else None
    match answer.get("status"), state:
        case "ACCEPT", State():
            return Accepted(state=state)
        case "REJECT", State():
            return Rejected(state=state, reason=details.reason)
        case "ABORT", _:
            return Aborted(state=state, reason=details.reason)
        case "WAIT", _:
            return Wait(delay_seconds=details.delay_seconds, reason=details.reason)
    raise ValueError(f"{answer.get('status')!r} is no verdict, or its state is missing")


def _object(value: Json, *ids: str) -> Object:
    """A JSON object without its nulls. ValueError: it is none, or one of these ids is no UUID.

    Ids name folders, environment variables and addresses, so they must not be any other text.
    """
    if not isinstance(value, dict):
        raise ValueError("an object is missing")
    present = {key: item for key, item in value.items() if item is not None}
    for key in present.keys() & ids:
        try:
            present[key] = str(UUID(str(present[key])))
        except ValueError:
            raise ValueError(f"{key}: an id is a UUID") from None
    return present


def read(convert: Callable[[Json], T], value: Json, what: str) -> T:
    """``value`` as a domain object. Unavailable: it has another form than a server's answer."""
    try:
        return convert(value)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(map(str, first["loc"])) or "answer"
        reason = f"{where}: {first['msg'].removeprefix('Value error, ')}"
    except (ValueError, OverflowError, RecursionError) as error:
        reason = str(error)
    raise Unavailable(f"{what}: the answer has an unknown form: {reason}")


class ListReader:
    """Reads lists item by item, and logs once which items cannot be read."""

    def __init__(self) -> None:
        self._report = lru_cache(MAX_REPORTS)(_report)

    def read(self, convert: Callable[[Json], T], value: Json, what: str) -> list[T]:
        """The items of ``value`` as domain objects, without those that cannot be read.

        One broken run must not keep all others from running. Unavailable: ``value`` is not a list,
        or no item can be read and some lack even an id.
        """
        if not isinstance(value, list):
            raise Unavailable(f"{what}: the answer is not a list")
        items: list[T] = []
        failure: Unavailable | None = None
        for item in value:
            try:
                items.append(read(convert, item, what))
            except Unavailable as error:
                if (item_id := _id_in(item)) is None:
                    failure = error
                self._report(str(error), item_id or "")
        if failure is not None and not items:
            raise failure
        return items


def _report(error: str, item_id: str) -> None:
    _log.warning("api.item_left_out", item=item_id, error=error)


def _id_in(item: Json) -> str | None:
    """The id of an item that cannot be read, cut short."""
    run = item.get("flow_run", item) if isinstance(item, dict) else None
    item_id = run.get("id") if isinstance(run, dict) else None
    return item_id[:MAX_ID_SHOWN] if isinstance(item_id, str) else None
