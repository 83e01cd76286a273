"""JSON as it is sent and received, with broken Unicode replaced."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime

from ...domain.errors import InvalidRequest
from ...domain.model import Json


def encode(body: Json) -> bytes:
    """``body`` as JSON in UTF-8; halves of surrogate pairs become question marks."""
    try:
        text = json.dumps(body, ensure_ascii=False, allow_nan=False, default=_plain)
    except (ValueError, TypeError, RecursionError) as error:
        raise InvalidRequest(f"the request cannot be written as JSON: {error}") from None
    return text.encode("utf-8", "replace")


def _plain(value: object) -> Json:
    """JSON for the other types in domain objects: read-only mappings, tuples, datetimes."""
    match value:
        case Mapping():
            return dict(value)
        case datetime():
            return value.isoformat()
        case set() | frozenset() | Sequence() if not isinstance(value, bytes):
            return list(value)
        case _:
            raise TypeError(f"{type(value).__name__} is not JSON")


def decode(body: bytes) -> Json:
    """The value of a JSON text. ValueError, RecursionError: it is none.

    JSON may escape half of a surrogate pair, which no file, socket or environment takes: such
    halves are replaced.
    """
    value = json.loads(body)
    return _without_surrogates(value) if b"\\ud" in body.lower() else value


def _without_surrogates(value: Json) -> Json:
    match value:
        case str():
            return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
        case list():
            return [_without_surrogates(item) for item in value]
        case dict():
            return {_without_surrogates(k): _without_surrogates(v) for k, v in value.items()}
        case _:
            return value
