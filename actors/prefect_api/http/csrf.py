"""The CSRF token: with protection, servers demand it for every request that changes something."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime
from typing import Final

from ...domain.errors import OrchestratorError, Unavailable
from ...domain.model import Json
from .exchange import HttpResponse
from .responses import RouteMissing

CHANGING_METHODS: Final = frozenset({"POST", "PUT", "PATCH", "DELETE"})

Fetch = Callable[[str], Awaitable[Json]]
"""Fetches the JSON of a path; raises OrchestratorError kinds."""


class CsrfGuard:
    """The token of one client, fetched before the first change and again when it expires.

    A server without protection is not asked again, unless it later rejects a change for lack of
    a token (it was restarted with other settings).
    """

    def __init__(self, *, enabled: bool) -> None:
        self._supported = enabled
        self._wanted = enabled
        self._client = str(uuid.uuid4())
        self._token: str | None = None
        self._expiration: datetime | None = None
        self._turn = asyncio.Lock()
        self._fetches = 0
        self._failure: OrchestratorError | None = None

    async def headers(self, method: str, fetch: Fetch, now: datetime) -> Mapping[str, str]:
        """The CSRF headers of a request; raises the errors of ``fetch``."""
        if method not in CHANGING_METHODS:
            return {}
        arrived = self._fetches
        async with self._turn:
            if self._wanted and self._is_stale(now):
                if self._failure is not None and self._fetches > arrived:
                    raise self._failure  # another request has just tried, while this one waited
                await self._refresh(fetch, now)
        if not self._wanted or self._token is None:
            return {}
        return {"Prefect-Csrf-Token": self._token, "Prefect-Csrf-Client": self._client}

    def refused(self, answer: HttpResponse, sent: Mapping[str, str]) -> bool:
        """Whether a request with the headers ``sent`` was rejected because of its token.

        Then the next one fetches a new token. Any other 403 is final.
        """
        if answer.status != 403 or not self._supported:
            return False
        if b"Invalid CSRF token" in answer.body:
            if sent.get("Prefect-Csrf-Token") == self._token:
                self._token = None
            return True
        if b"Missing CSRF token" in answer.body and not self._wanted:
            self._wanted = True
            return True
        return False

    def _is_stale(self, now: datetime) -> bool:
        return self._token is None or (self._expiration is not None and now > self._expiration)

    async def _refresh(self, fetch: Fetch, now: datetime) -> None:
        self._failure = None
        try:
            answer = await fetch(f"/csrf-token?client={self._client}")
        except OrchestratorError as error:
            # 404: a server older than the protection.
            if isinstance(error, RouteMissing) or "CSRF protection is disabled" in str(error):
                self._wanted = False
                return
            self._failure = error
            raise
        finally:
            self._fetches += 1
        token = answer.get("token") if isinstance(answer, dict) else None
        if not isinstance(token, str) or not token.isascii() or not token.isprintable():
            raise Unavailable("GET /csrf-token: the answer holds no token")
        self._token = token
        self._expiration = _moment(answer.get("expiration"))
        if self._expiration is not None and self._expiration <= now:
            self._expiration = None  # the clocks differ: the server will reject it in time


def _moment(value: Json) -> datetime | None:
    try:
        moment = datetime.fromisoformat(value)
    except (TypeError, ValueError):
        return None
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
