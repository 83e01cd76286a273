"""What an answer means: its JSON, or the error that says what to do about it."""

from __future__ import annotations

import json
from typing import Final

from ..domain.errors import (
    Conflict,
    Forbidden,
    InvalidRequest,
    NotFound,
    OrchestratorError,
    Unauthorized,
    Unavailable,
)
from ..domain.model import Json
from .http.exchange import Answer

MAX_DETAIL: Final = 500
"""Characters of the server's own words that go into an error's message."""

_WORDS: Final = ("detail", "exception_message")
_URL_HINT: Final = "check PREFECT_API_URL, which usually ends in /api"


class RouteMissing(Unavailable):
    """404 although every Prefect server has, or newer ones have, this route.

    Not a NotFound: nothing is known about the object, and a proxy that points elsewhere for a
    minute must not make anybody believe that runs were deleted.
    """


class CsrfRefused(Forbidden):
    """403 for the sake of the CSRF token, again and again: no key would change that."""


def json_of(answer: Answer, what: str) -> Json:
    """The JSON of a successful answer, None for an empty one; otherwise the fitting error.

    ``what`` names the request in messages, such as ``GET /flows/...``.
    """
    if not 200 <= answer.status < 300:
        raise error_of(answer, what)
    if not answer.body:
        return None
    try:
        return parse_json(answer.body)
    except (ValueError, RecursionError):
        kind = answer.headers.get("content-type", "no content type")
        raise Unavailable(
            f"{what}: the answer is not JSON ({kind}); {_URL_HINT}", status=answer.status
        ) from None


def parse_json(body: bytes) -> Json:
    """JSON whose texts are all valid Unicode. ValueError or RecursionError otherwise.

    JSON may escape half of a surrogate pair, which no file, socket or environment takes later:
    such halves are replaced.
    """
    value = json.loads(body)
    return _mended(value) if b"\\ud" in body.lower() else value


def _mended(value: Json) -> Json:
    match value:
        case str():
            return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
        case list():
            return [_mended(item) for item in value]
        case dict():
            return {_mended(key): _mended(item) for key, item in value.items()}
        case _:
            return value


def error_of(answer: Answer, what: str) -> OrchestratorError:
    """The error for an answer that is not a success (contract section 2.6)."""
    status = answer.status
    detail = _detail(answer)
    said = f"{what}: {status}" + (f" ({detail})" if detail else "")
    match status:
        case 401:
            return Unauthorized(
                f"{said}; the server does not accept our credentials: check "
                "PREFECT_API_AUTH_STRING (user:password) or PREFECT_API_KEY",
                status=status,
            )
        case 403 if "CSRF token" in detail:
            return CsrfRefused(f"{said}; a proxy may drop its header", status=status)
        case 403:
            return Forbidden(f"{said}; the server does not allow this", status=status)
        case 404 if detail in ("", "Not Found"):
            return RouteMissing(f"{said}; there is no such route: {_URL_HINT}", status=status)
        case 404:
            return NotFound(said, status=status)
        case 409:
            return Conflict(said, status=status)
        case 408 | 429:
            return Unavailable(f"{said}; the server is overloaded or slow", status=status)
        case 405:
            return InvalidRequest(f"{said}; {_URL_HINT}", status=status)
        case _ if 400 <= status < 500:
            return InvalidRequest(said, status=status)
        case _ if status >= 500:
            return Unavailable(f"{said}; look at the server's log", status=status)
        case _:
            where = answer.headers.get("location")
            redirect = f" to {where}" if where else ""
            return Unavailable(
                f"{said}; unexpected redirect or status{redirect}; {_URL_HINT}", status=status
            )


def _detail(answer: Answer) -> str:
    """The server's own words; empty when it does not speak as a Prefect server does."""
    try:
        body = parse_json(answer.body)
    except (ValueError, RecursionError):
        return ""
    if not isinstance(body, dict):
        return ""
    words = [
        body[key] for key in ("detail", "exception_message") if isinstance(body.get(key), str)
    ]
    problems = body.get("exception_detail", body.get("detail"))
    if isinstance(problems, list):
        words += [_problem(problem) for problem in problems[:3] if isinstance(problem, dict)]
    return " ".join(words)[:MAX_DETAIL]


def _problem(problem: dict[str, Json]) -> str:
    """One validation problem: where and what, without the value (it may be secret)."""
    location = problem.get("loc")
    where = ".".join(map(str, location)) if isinstance(location, list) else "body"
    return f"{where}: {problem.get('msg', 'invalid')}"
