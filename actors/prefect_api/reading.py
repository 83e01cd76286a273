"""Reads what a server sent: what cannot be understood is no answer, and costs no neighbour."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, TypeVar

import structlog
from pydantic import ValidationError

from ..domain.errors import Unavailable
from ..domain.model import Json
from .models import Wire

T = TypeVar("T")
W = TypeVar("W", bound=Wire)

_log = structlog.get_logger(__name__)

MAX_REPORTS: Final = 1_000
"""Items that are remembered as reported."""

MAX_ID_SHOWN: Final = 64
"""Characters of an id that is none."""


def read(model: type[W], convert: Callable[[W], T], value: Json, what: str) -> T:
    """``value`` as a domain object. Unavailable: it has another form than a server's answer."""
    try:
        return convert(model.model_validate(value))
    except (ValidationError, ValueError, OverflowError, RecursionError) as error:
        raise Unavailable(f"{what}: the answer has an unknown form: {_short(error)}") from None


class ListReader:
    """Reads lists item by item, and logs once which items it cannot understand.

    Owns: _reported, the latest of the reports that were made.
    """

    def __init__(self) -> None:
        self._reported: dict[tuple[str, str], None] = {}

    def read(self, model: type[W], convert: Callable[[W], T], value: Json, what: str) -> list[T]:
        """The items of ``value`` as domain objects, without those that cannot be understood.

        One run that cannot be read must not keep all others from running. Unavailable: not a
        list, or nothing in it has even an id or can be understood.
        """
        if not isinstance(value, list):
            raise Unavailable(f"{what}: the answer is not a list")
        items: list[T] = []
        failure: Unavailable | None = None
        for item in value:
            try:
                items.append(read(model, convert, item, what))
            except Unavailable as error:
                if (item_id := _id_in(item)) is None:
                    failure = error
                self._report(str(error), item_id or "")
        if failure is not None and not items:
            raise failure
        return items

    def _report(self, error: str, item_id: str) -> None:
        report = (error, item_id)
        if report in self._reported:
            return
        if len(self._reported) >= MAX_REPORTS:
            self._reported.pop(next(iter(self._reported)))
        self._reported[report] = None
        _log.warning("api.item_left_out", item=item_id, error=error)


def _id_in(item: Json) -> str | None:
    """What an item that cannot be understood calls itself, cut short."""
    if not isinstance(item, dict):
        return None
    run = item.get("flow_run", item)
    item_id = run.get("id") if isinstance(run, dict) else None
    return item_id[:MAX_ID_SHOWN] if isinstance(item_id, str) else None


def _short(error: Exception) -> str:
    if isinstance(error, ValidationError):
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(map(str, first["loc"])) or "answer"
        return f"{where}: {first['msg'].removeprefix('Value error, ')}"
    return str(error)
