"""The CSRF token: with protection, servers demand it for every request that changes something."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Awaitable, Callable, Mapping
from typing import Final

from ...domain.errors import OrchestratorError, Unavailable
from ...domain.model import Json
from .exchange import HttpResponse
from .responses import RouteMissing

CHANGING_METHODS: Final = frozenset({"POST", "PUT", "PATCH", "DELETE"})

Fetch = Callable[[str], Awaitable[Json]]
"""Fetches the JSON of a path; raises OrchestratorError kinds."""


class CsrfGuard:
    """The token of one client, fetched before the first change and again once it is rejected.

    A server without protection is not asked again, unless it later rejects a change for lack of
    a token (it was restarted with other settings).
    """

    def __init__(self, *, enabled: bool) -> None:
        self._supported = enabled
        self._wanted = enabled
        self._client = str(uuid.uuid4())
        self._token: str | None = None
        self._turn = asyncio.Lock()
        self._fetches = 0
        self._failure: OrchestratorError | None = None

    async def headers(self, method: str, fetch: Fetch) -> Mapping[str, str]:
        """The CSRF headers of a request; raises the errors of ``fetch``."""
        if method not in CHANGING_METHODS:
            return {}
        arrived = self._fetches
        async with self._turn:
            if self._wanted and self._token is None:
                if self._failure is not None and self._fetches > arrived:
                    raise self._failure  # another request has just tried, while this one waited
                await self._refresh(fetch)
        if not self._wanted or self._token is None:
            return {}
        return {"Prefect-Csrf-Token": self._token, "Prefect-Csrf-Client": self._client}

    def refused(self, answer: HttpResponse, sent: Mapping[str, str]) -> bool:
        """Whether a request with the headers ``sent`` was rejected because of its token.

        Then the next one fetches a new token: the old one has expired, or belongs to a server
        that is gone. Any other 403 is final.
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

    async def _refresh(self, fetch: Fetch) -> None:
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
