"""Turns a server's JSON into domain objects."""

from __future__ import annotations

from functools import lru_cache
from typing import Final, TypeVar

import structlog
from pydantic import ValidationError

from ..domain.errors import Unavailable
from ..domain.model import Json
from .models import Wire

T = TypeVar("T")

_log = structlog.get_logger(__name__)

MAX_REPORTS: Final = 1_000
"""Items that are remembered as reported."""

MAX_ID_SHOWN: Final = 64
"""Characters of an id in the log: a broken item may have any text there."""


def read(model: type[Wire[T]], value: Json, what: str) -> T:
    """``value`` as a domain object. Unavailable: it has another form than a server's answer."""
    try:
        return model.model_validate(value).to_domain()
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

    def read(self, model: type[Wire[T]], value: Json, what: str) -> list[T]:
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
                items.append(read(model, item, what))
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
