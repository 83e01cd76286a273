"""What a response means: its JSON, or an error that says what to do."""

from __future__ import annotations

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
from .json_codec import decode

MAX_DETAIL: Final = 500
"""Characters of the server's own words that go into an error's message."""

_URL_HINT: Final = "check PREFECT_API_URL, which usually ends in /api"


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
        raise error_of(answer, what)
    if not answer.body:
        return None
    try:
        return decode(answer.body)
    except (ValueError, RecursionError):
        kind = answer.headers.get("content-type", "no content type")
        raise Unavailable(
            f"{what}: the answer is not JSON ({kind}); {_URL_HINT}", status=answer.status
        ) from None


def error_of(answer: HttpResponse, what: str) -> OrchestratorError:
    """The error for a response that is not a success."""
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


def _detail(answer: HttpResponse) -> str:
    """The server's own words; empty if the body is not that of a Prefect server's error."""
    try:
        body = decode(answer.body)
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
