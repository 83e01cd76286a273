"""Prefect's own settings, read without importing Prefect."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Final
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    Json,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    ValidationError,
)

from ...domain.errors import SettingsError
from ...domain.masking import secrets_in_environment
from ..http.retry import RetryPolicy
from ..http.session_options import Credentials, SessionOptions
from .sources import read_sources

CREDENTIALS: Final = ("PREFECT_API_KEY", "PREFECT_API_AUTH_STRING")
"""The settings that may change while the worker runs."""

_HEADER_NAME: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")


def _address(text: str) -> str:
    """An HTTP address, without a slash at its end."""
    address = text.strip().rstrip("/")
    try:
        parts = urlsplit(address)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable = False
    if not usable or re.search(r"\s", address):
        raise ValueError("it must be an address such as http://127.0.0.1:4200/api")
    return address


def _headers(headers: dict[str, str]) -> dict[str, str]:
    for name, value in headers.items():
        usable = value.isascii() and value.isprintable() and value == value.strip()
        if not usable or not _HEADER_NAME.fullmatch(name):
            raise ValueError(f"the header {name!r} cannot be sent, or not with this value")
    return headers


def _log_level(text: str) -> str:
    """One of Python's five levels; ``text`` is its name, another name of it, or its number."""
    name = text.strip().upper()
    level = int(name) if name.isdecimal() else logging.getLevelNamesMapping().get(name, -1)
    name = logging.getLevelName(level or logging.DEBUG)
    if name not in logging.getLevelNamesMapping():
        raise ValueError("it must be a log level such as DEBUG, INFO or WARNING")
    return name


Address = Annotated[str, BeforeValidator(_address)]
Statuses = Annotated[
    frozenset[Annotated[int, Field(ge=100, le=599)]],
    BeforeValidator(lambda text: [part for part in text.split(",") if part.strip()]),
]


class PrefectSettings(BaseModel):
    """The settings that the worker uses: ``x_y`` is ``PREFECT_X_Y``, in seconds or bytes.

    An empty text means the default, whatever a weaker source says.
    """

    model_config = ConfigDict(frozen=True, allow_inf_nan=False)

    api_url: Address | None = None
    api_key: str | None = Field(default=None, repr=False)
    api_auth_string: str | None = Field(default=None, repr=False)
    api_request_timeout: PositiveFloat = 60.0
    api_tls_insecure_skip_verify: bool = False
    api_ssl_cert_file: str | None = None
    """Default: what ``SSL_CERT_FILE`` names."""
    cloud_api_url: Address = "https://api.prefect.cloud/api"

    client_max_retries: NonNegativeInt = 5
    client_retry_jitter_factor: NonNegativeFloat = 0.2
    client_retry_extra_codes: Statuses = frozenset()
    client_csrf_support_enabled: bool = True
    client_custom_headers: Annotated[Json[dict[str, str]], AfterValidator(_headers)] = Field(
        default_factory=dict, repr=False
    )

    worker_heartbeat_seconds: PositiveFloat = 30.0
    worker_query_seconds: PositiveFloat = 10.0
    worker_prefetch_seconds: NonNegativeFloat = 10.0
    worker_webserver_host: str = "0.0.0.0"
    worker_webserver_port: Annotated[int, Field(ge=0, le=65535)] = 8080
    worker_debug_mode: bool = False

    logging_level: Annotated[str, BeforeValidator(_log_level)] = "INFO"
    logging_to_api_enabled: bool = True
    logging_to_api_batch_interval: PositiveFloat = 2.0
    logging_to_api_batch_size: PositiveInt = 4_000_000
    logging_to_api_max_log_size: PositiveInt = 1_000_000


class PrefectProfile(PrefectSettings):
    """Prefect's settings, where they were found, and those that only the runs' engines use."""

    sources: Mapping[str, str] = Field(default_factory=dict)
    """Where each ``PREFECT_*`` variable was found, in words."""
    variables: Mapping[str, str] = Field(default_factory=dict, repr=False)
    """The text of every Prefect setting that is set."""
    warnings: tuple[str, ...] = ()
    """What Prefect would warn of, too, when it reads its settings."""
    again: Callable[[], PrefectProfile] | None = Field(default=None, repr=False)
    """Reads the settings again from the same sources; None: they come from no source."""

    def environment(self) -> dict[str, str]:
        """All settings that are set, as variables for the runs' processes."""
        return dict(self.variables)

    def source_of(self, variable: str) -> str:
        """Where ``variable`` was found, in words."""
        return self.sources.get(variable, "Prefect's default")

    def credentials(self) -> Credentials:
        return Credentials(api_key=self.api_key, auth_string=self.api_auth_string)

    def found_again(self) -> PrefectProfile:
        """The settings, read again. SettingsError: as for load_profile."""
        return self if self.again is None else self.again()

    def with_credentials_of(self, other: PrefectProfile) -> PrefectProfile:
        """These settings with the credentials of ``other``."""
        kept = {name: text for name, text in self.variables.items() if name not in CREDENTIALS}
        taken = {name: text for name, text in other.variables.items() if name in CREDENTIALS}
        update = {"api_key": other.api_key, "api_auth_string": other.api_auth_string}
        return self.model_copy(update={**update, "variables": kept | taken})

    def secrets(self) -> frozenset[str]:
        """What must not be shown: credentials, secret headers, passwords in the address, and the
        settings of servers and engines that are named like secrets."""
        own = SessionOptions(
            base_url=self.api_url or "",
            credentials=self.credentials(),
            custom_headers=self.client_custom_headers,
        ).secrets()
        return own | secrets_in_environment(self.variables)

    def session_options(self) -> SessionOptions:
        """What a session needs. SettingsError: no API URL, or no such certificate file."""
        if self.api_url is None:
            raise SettingsError("PREFECT_API_URL is not set: name the Prefect server there.")
        is_cloud = self.api_url.startswith(self.cloud_api_url)
        return SessionOptions(
            base_url=self.api_url,
            credentials=self.credentials(),
            custom_headers=self.client_custom_headers,
            user_agent=f"actor-worker/{_version()}",
            timeout_seconds=self.api_request_timeout,
            verify=self._verify(),
            csrf=self.client_csrf_support_enabled and not is_cloud,
            retry=RetryPolicy(
                max_retries=self.client_max_retries,
                jitter_factor=self.client_retry_jitter_factor,
                extra_codes=self.client_retry_extra_codes,
            ),
        )

    def _verify(self) -> bool | str:
        if self.api_tls_insecure_skip_verify:
            return False
        file = self.api_ssl_cert_file
        if file is None:
            return True
        if urlsplit(self.api_url or "").scheme == "https" and not os.path.exists(file):
            where = self.sources.get("PREFECT_API_SSL_CERT_FILE", "SSL_CERT_FILE")
            raise SettingsError(f"PREFECT_API_SSL_CERT_FILE ({where}): there is no file {file}")
        return file


def load_profile(
    environ: Mapping[str, str] | None = None, *, cwd: Path | None = None, home: Path | None = None
) -> PrefectProfile:
    """Prefect's settings as found from ``environ``, the working and the home directory.

    Defaults are this process's own. SettingsError names the variable and the source of a value
    that cannot be used.
    """
    environ = os.environ if environ is None else environ
    cwd, home = cwd or Path.cwd(), home or Path.home()
    found, warnings = read_sources(environ, cwd=cwd, home=home)
    variables: dict[str, str] = {}
    sources: dict[str, str] = {}
    for source in found:
        variables |= source.values
        sources |= dict.fromkeys(source.values, source.where)
    values: dict[str, Any] = {
        name: text
        for name in PrefectSettings.model_fields
        if (text := variables.get(f"PREFECT_{name.upper()}"))
    }
    values.setdefault("api_ssl_cert_file", environ.get("SSL_CERT_FILE") or None)
    try:
        profile = PrefectProfile(
            **values,
            sources=sources,
            variables=variables,
            warnings=tuple(warnings),
            again=partial(load_profile, environ, cwd=cwd, home=home),
        )
    except ValidationError as error:
        raise _wrong_value(error, variables, sources) from None
    if profile.logging_to_api_max_log_size > profile.logging_to_api_batch_size:
        size, batch = (f"PREFECT_LOGGING_TO_API_{name}_SIZE" for name in ("MAX_LOG", "BATCH"))
        raise SettingsError(
            f"{size} ({profile.source_of(size)}) must not be larger than "
            f"{batch} ({profile.source_of(batch)})"
        )
    return profile


def _wrong_value(
    error: ValidationError, variables: Mapping[str, str], sources: Mapping[str, str]
) -> SettingsError:
    """The first wrong value. Custom headers are not shown: they may be secret."""
    fault = error.errors(include_url=False, include_input=False)[0]
    variable = f"PREFECT_{str(fault['loc'][0]).upper()}"
    secret = variable == "PREFECT_CLIENT_CUSTOM_HEADERS"
    shown = "its value" if secret else repr(variables[variable])
    reason = fault["msg"].removeprefix("Value error, ")
    return SettingsError(f"{variable} (from {sources[variable]}): {shown} is wrong: {reason}")


def _version() -> str:
    from importlib.metadata import PackageNotFoundError, version  # late: a slow import

    try:
        return version("actor-worker")
    except PackageNotFoundError:
        return "0"
