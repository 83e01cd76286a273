"""What a session needs to know about its server."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import quote

from ...domain.masking import is_secret_name, passwords_in_addresses
from .retry import RetryPolicy

API_VERSION: Final = "0.8.4"
"""The API version of all servers from 3.0 to 3.9."""

PRINTABLE: Final = bytes(range(0x20, 0x7F))
"""What the value of a header holds as it is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Credentials:
    """The worker's credentials. The authorization string wins over the key."""

    api_key: str | None = field(default=None, repr=False)
    auth_string: str | None = field(default=None, repr=False)

    def header(self) -> str | None:
        """The value of the ``Authorization`` header."""
        if self.auth_string:
            return f"Basic {b64encode(self.auth_string.encode()).decode()}"
        return f"Bearer {self.api_key}" if self.api_key else None

    def secrets(self) -> frozenset[str]:
        found = {self.api_key, self.auth_string, (self.header() or "").partition(" ")[2]}
        found.add((self.auth_string or "").partition(":")[2])
        return frozenset(secret for secret in found if secret)


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionOptions:
    """Everything about a session but its clock."""

    base_url: str
    """``PREFECT_API_URL``, which contains ``/api`` already."""
    credentials: Credentials = field(default_factory=Credentials)
    custom_headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    """Sent with each request; User-Agent and the CSRF headers cannot be overridden."""
    user_agent: str = "actor-worker"
    """Not ``prefect/3.0.0``: servers enforce no deployment concurrency for such workers."""
    worker: str = ""
    """The worker's name, which access logs and proxies see as ``X-Prefect-Worker-Name``."""
    timeout_seconds: float = 60.0
    """To connect, and for each piece of a response (``PREFECT_API_REQUEST_TIMEOUT``).

    A whole exchange may take twice as long, even if the server keeps sending.
    """
    total_seconds: float = 600.0
    """For a request with its retries, without announced maintenance."""
    verify: bool | str = True
    """Whether to check TLS certificates, or the file of the authorities to trust."""
    csrf: bool = True
    retry: RetryPolicy = field(default_factory=RetryPolicy)
    max_response_bytes: int = 64 * 1024 * 1024
    max_concurrency: int = 8
    """Requests in flight that change something."""
    start_concurrency: int = 2

    def secrets(self) -> frozenset[str]:
        """What must not be shown: credentials, secret headers, passwords in the address."""
        found = {*self.credentials.secrets(), *passwords_in_addresses(self.base_url)}
        for name, value in self.custom_headers.items():
            if is_secret_name(name) or name.lower() in ("authorization", "cookie"):
                found |= {value, value.rpartition(" ")[2]}
        return frozenset(found)

    def headers(self, credentials: Credentials) -> dict[str, str]:
        """The headers of every request, without those for CSRF."""
        custom = {name.lower(): value for name, value in self.custom_headers.items()}
        for reserved in ("user-agent", "prefect-csrf-token", "prefect-csrf-client"):
            custom.pop(reserved, None)
        base = {
            "accept": "application/json",
            "accept-encoding": "gzip, deflate",
            "user-agent": self.user_agent,
            "x-prefect-api-version": API_VERSION,
        }
        if self.worker:
            base["x-prefect-worker-name"] = quote(self.worker, safe=PRINTABLE).strip()
        authorization = credentials.header()
        return base | ({"authorization": authorization} if authorization else {}) | custom
