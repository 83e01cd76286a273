"""What a response means: its JSON, or an error that says what to do."""

from __future__ import annotations

import json
from typing import Final

from ...domain.errors import (
    Conflict,
    Forbidden,
    InvalidRequest,
    NotFound,
    OrchestratorError,
    Unauthorized,
    Unavailable,
)
from ...domain.model import Json
from .exchange import HttpResponse

MAX_DETAIL: Final = 500
"""Characters of the server's own words that go into an error's message."""

_URL_HINT: Final = "check PREFECT_API_URL, which usually ends in /api"

_BAD_CREDENTIALS: Final = (
    "the server does not accept our credentials: check PREFECT_API_AUTH_STRING (user:password) or"
    " PREFECT_API_KEY"
)


class RouteMissing(Unavailable):
    """404 for the whole route, not for an object.

    Not a NotFound: a proxy that points elsewhere for a minute must not look as if runs had been
    deleted.
    """


class CsrfRefused(Forbidden):
    """403 because of the CSRF token, even after retries: other credentials would not help."""


def json_of(answer: HttpResponse, what: str) -> Json:
    """The JSON of a successful response, None if it is empty. Otherwise raises OrchestratorError.

    ``what`` is the request in messages, such as ``GET /flows/...``.
    """
    if not 200 <= answer.status < 300:
        detail = _detail(answer)
        kind, hint = _meaning(answer, detail)
        said = f"{what}: {answer.status}" + (f" ({detail})" if detail else "")
        raise kind(f"{said}; {hint}" if hint else said, status=answer.status)
    if not answer.body:
        return None
    try:
        return _decode(answer.body)
    except (ValueError, RecursionError):
        content = answer.headers.get("content-type", "no content type")
        raise Unavailable(
            f"{what}: the answer is not JSON ({content}); {_URL_HINT}", status=answer.status
        ) from None


def _meaning(answer: HttpResponse, detail: str) -> tuple[type[OrchestratorError], str]:
    """The error for a response that is not a success, and what to do about it."""
    match answer.status:
        case 401:
            return Unauthorized, _BAD_CREDENTIALS
        case 403 if "CSRF token" in detail:
            return CsrfRefused, "a proxy may drop its header"
        case 403:
            return Forbidden, "the server does not allow this"
        case 404 if detail in ("", "Not Found"):
            return RouteMissing, f"there is no such route: {_URL_HINT}"
        case 404:
            return NotFound, ""
        case 405:
            return InvalidRequest, _URL_HINT
        case 408 | 429:
            return Unavailable, "the server is overloaded or slow"
        case 409:
            return Conflict, ""
        case status if 400 <= status < 500:
            return InvalidRequest, ""
        case status if status >= 500:
            return Unavailable, "look at the server's log"
    location = answer.headers.get("location", "nowhere")
    return Unavailable, f"unexpected status, or redirect to {location}; {_URL_HINT}"


def _detail(answer: HttpResponse) -> str:
    """The server's own words; empty if the body is not that of a Prefect server's error."""
    try:
        body = _decode(answer.body)
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
    """One validation problem, without the value: it may be secret."""
    location = problem.get("loc")
    where = ".".join(map(str, location)) if isinstance(location, list) else "body"
    return f"{where}: {problem.get('msg', 'invalid')}"


def _decode(body: bytes) -> Json:
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
