"""Which proxy a request goes through, by ``HTTP_PROXY``, ``NO_PROXY`` and the like."""

from __future__ import annotations

from collections.abc import Mapping
from ipaddress import ip_address, ip_network
from urllib.parse import urlsplit


def proxies_from(environ: Mapping[str, str]) -> dict[str, str]:
    """``{"http": url, "https": url, "all": url, "no": hosts}``, as far as they are set.

    Lower-case names win, as in curl and requests. A CGI program has the header ``Proxy`` of its
    visitor as ``HTTP_PROXY``, so that is ignored there.
    """
    found: dict[str, str] = {}
    for scheme in ("http", "https", "all", "no"):
        name = f"{scheme}_proxy"
        value = environ.get(name)
        if value is None and not (scheme == "http" and "REQUEST_METHOD" in environ):
            value = environ.get(name.upper())
        if value:
            found[scheme] = value if scheme == "no" or "://" in value else f"http://{value}"
    return found


def proxies_for(url: str, proxies: Mapping[str, str]) -> dict[str, str]:
    """The ``proxies`` that apply to ``url``; none if ``NO_PROXY`` names its host."""
    parts = urlsplit(url)
    host = (parts.hostname or "").lower()
    if any(_covers(entry, host, parts.port) for entry in proxies.get("no", "").split(",")):
        return {}
    return {scheme: address for scheme, address in proxies.items() if scheme != "no"}


def _covers(entry: str, host: str, port: int | None) -> bool:
    """Whether an entry of ``NO_PROXY`` is this host, a parent domain, its network, or ``*``."""
    entry = entry.strip().lower()
    if entry == "*":
        return True
    try:
        return ip_address(host) in ip_network(entry, strict=False)
    except ValueError:
        pass  # not both of them are numeric
    name, _, only_port = entry.partition(":")
    name = name.removeprefix("*").lstrip(".")
    if not name or (only_port and only_port != str(port)):
        return False
    return host == name or host.endswith(f".{name}")
