"""Prefect's own settings, read without importing Prefect."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final
from urllib.parse import urlsplit

from ...domain.errors import SettingsError
from ...domain.masking import secrets_in_environment
from ..http.proxies import proxies_from
from ..http.retry import RetryPolicy
from ..http.session_options import Credentials, SessionOptions, secrets_of
from . import values as to
from .sources import Found, find_sources

CREDENTIALS: Final = ("api_key", "api_auth_string")
"""The settings that may change while the worker runs."""

_OTHER_NAMES: Final = {
    "PREFECT_CLIENT_METRICS_ENABLED": "PREFECT_CLIENT_ENABLE_METRICS",
    "PREFECT_CLIENT_ENABLE_METRICS": "PREFECT_CLIENT_METRICS_ENABLED",
}
"""A setting that has two names."""


def _setting(parse: to.Parse, default: Any = None) -> Any:
    """A field that is read from the ``PREFECT_*`` variable of its name.

    An empty text means the default, whatever a weaker source says.
    """
    return field(default=default, metadata={"parse": parse})


def _secret(parse: to.Parse, default_factory: Callable[[], Any] = lambda: None) -> Any:
    metadata = {"parse": parse, "secret": True}
    return field(default_factory=default_factory, repr=False, metadata=metadata)


@dataclass(frozen=True, slots=True, kw_only=True)
class PrefectProfile:
    """The settings that the worker uses: ``x_y`` is ``PREFECT_X_Y``, in seconds or bytes.

    All settings, for the runs' engines, are in :meth:`environment`.
    """

    api_url: str | None = _setting(to.url)
    api_key: str | None = _secret(to.text)
    api_auth_string: str | None = _secret(to.text)
    api_request_timeout: float = _setting(to.number(above=0), 60.0)
    api_tls_insecure_skip_verify: bool = _setting(to.flag, False)
    api_ssl_cert_file: str | None = _setting(to.text)
    """Default: what ``SSL_CERT_FILE`` names."""
    cloud_api_url: str = _setting(to.url, "https://api.prefect.cloud/api")

    client_max_retries: int = _setting(to.whole(0), 5)
    client_retry_jitter_factor: float = _setting(to.number(at_least=0), 0.2)
    client_retry_extra_codes: frozenset[int] = _setting(to.status_codes, frozenset())
    client_csrf_support_enabled: bool = _setting(to.flag, True)
    client_custom_headers: Mapping[str, str] = _secret(to.headers, dict)

    worker_heartbeat_seconds: float = _setting(to.number(above=0), 30.0)
    worker_query_seconds: float = _setting(to.number(above=0), 10.0)
    worker_prefetch_seconds: float = _setting(to.number(at_least=0), 10.0)
    worker_webserver_host: str = _setting(to.text, "0.0.0.0")
    worker_webserver_port: int = _setting(to.whole(0, 65535), 8080)
    worker_debug_mode: bool = _setting(to.flag, False)

    logging_level: str = _setting(to.log_level, "INFO")
    logging_to_api_enabled: bool = _setting(to.flag, True)
    logging_to_api_batch_interval: float = _setting(to.number(above=0), 2.0)
    logging_to_api_batch_size: int = _setting(to.whole(1), 4_000_000)
    logging_to_api_max_log_size: int = _setting(to.whole(1), 1_000_000)

    name: str | None = None
    """The active profile of ``profiles.toml``."""
    profiles_path: Path | None = None
    sources: Mapping[str, str] = field(default_factory=dict)
    """Where each ``PREFECT_*`` variable was found, in words."""
    variables: Mapping[str, str] = field(default_factory=dict, repr=False)
    """The text of every Prefect setting that is set."""
    proxies: Mapping[str, str] = field(default_factory=dict, repr=False)
    warnings: tuple[str, ...] = ()
    """What Prefect would warn of, too, when it reads its settings."""
    again: Callable[[], PrefectProfile] | None = field(default=None, repr=False, compare=False)
    """Reads the settings again from the same sources; None: they come from no source."""

    @property
    def is_cloud(self) -> bool:
        """Whether the server is Prefect Cloud."""
        return self.api_url is not None and self.api_url.startswith(self.cloud_api_url)

    def environment(self) -> dict[str, str]:
        """All settings that are set, as variables for the runs' processes."""
        return dict(self.variables)

    def source_of(self, variable: str) -> str:
        """Where ``variable`` was found, in words."""
        return self.sources.get(variable, "Prefect's default")

    def credentials(self) -> Credentials:
        """The API key and the authorization string."""
        return Credentials(api_key=self.api_key, auth_string=self.api_auth_string)

    def found_again(self) -> PrefectProfile:
        """The settings, read again. SettingsError: as for load_profile."""
        return self if self.again is None else self.again()

    def with_credentials_of(self, other: PrefectProfile) -> PrefectProfile:
        """These settings with the credentials of ``other``."""
        names = {f"PREFECT_{name.upper()}" for name in CREDENTIALS}
        kept = {name: text for name, text in self.variables.items() if name not in names}
        taken = {name: text for name, text in other.variables.items() if name in names}
        return replace(
            self,
            api_key=other.api_key,
            api_auth_string=other.api_auth_string,
            variables=MappingProxyType(kept | taken),
        )

    def secrets(self) -> frozenset[str]:
        """What must not be shown: credentials, secret headers, passwords in addresses, and the
        settings of servers and engines that are named like secrets."""
        own = secrets_of(
            self.credentials(),
            headers=self.client_custom_headers,
            addresses=(self.api_url or "", *self.proxies.values()),
        )
        return own | secrets_in_environment(self.variables)

    def session_options(self) -> SessionOptions:
        """What a session needs. SettingsError: no API URL, or no such certificate file."""
        if self.api_url is None:
            raise SettingsError("PREFECT_API_URL is not set: name the Prefect server there.")
        return SessionOptions(
            base_url=self.api_url,
            credentials=self.credentials(),
            custom_headers=self.client_custom_headers,
            user_agent=f"actor-worker/{_version()}",
            timeout_seconds=self.api_request_timeout,
            verify=self._verify(),
            proxies=self.proxies,
            csrf=self.client_csrf_support_enabled and not self.is_cloud,
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
    found = find_sources(environ, cwd=cwd, home=home)
    settings = {spec.name: spec for spec in fields(PrefectProfile) if "parse" in spec.metadata}
    values: dict[str, Any] = {}
    for name, spec in settings.items():
        variable = f"PREFECT_{name.upper()}"
        text, where = _lookup(found, variable)
        if text:
            values[name] = _parsed(text, variable, where, spec.metadata)
    values.setdefault("api_ssl_cert_file", environ.get("SSL_CERT_FILE") or None)
    profile = PrefectProfile(
        **values,
        name=found.profile,
        profiles_path=found.profiles_path,
        sources=MappingProxyType(_origins(found)),
        variables=MappingProxyType(_variables(found)),
        proxies=MappingProxyType(proxies_from(environ)),
        warnings=found.warnings,
        again=partial(load_profile, environ, cwd=cwd, home=home),
    )
    if profile.logging_to_api_max_log_size > profile.logging_to_api_batch_size:
        raise SettingsError(
            "PREFECT_LOGGING_TO_API_MAX_LOG_SIZE "
            f"({profile.source_of('PREFECT_LOGGING_TO_API_MAX_LOG_SIZE')}) must not be larger "
            "than PREFECT_LOGGING_TO_API_BATCH_SIZE "
            f"({profile.source_of('PREFECT_LOGGING_TO_API_BATCH_SIZE')})"
        )
    return profile


def _lookup(found: Found, variable: str) -> tuple[str | None, str]:
    """The text of a setting and the place it was found in."""
    for source in found.sources:
        if variable in source.values:
            return source.values[variable], source.where
    return None, ""


def _parsed(text: str, variable: str, where: str, spec: Mapping[str, Any]) -> Any:
    try:
        return spec["parse"](text)
    except ValueError as error:
        shown = "its value" if spec.get("secret") else repr(text)
        raise SettingsError(f"{variable} (from {where}): {shown} {error}") from None


def _origins(found: Found) -> dict[str, str]:
    origins: dict[str, str] = {}
    for source in reversed(found.sources):
        origins |= dict.fromkeys(source.values, source.where)
    return origins


def _variables(found: Found) -> dict[str, str]:
    """The text of each from the strongest source; the weaker one of two names is dropped."""
    variables: dict[str, str] = {}
    for source in reversed(found.sources):
        for name in source.values:
            variables.pop(_OTHER_NAMES.get(name, ""), None)
        variables |= source.values
    return variables


def _version() -> str:
    from importlib.metadata import PackageNotFoundError, version  # late: a slow import

    try:
        return version("actor-worker")
    except PackageNotFoundError:
        return "0"
