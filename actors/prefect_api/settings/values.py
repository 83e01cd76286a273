"""Parses the text of settings. A ValueError says what is expected."""

from __future__ import annotations

import json
import logging
import math
import re
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Final
from urllib.parse import urlsplit

Parse = Callable[[str], Any]

_TRUE: Final = frozenset({"true", "t", "yes", "y", "on", "1"})
_FALSE: Final = frozenset({"false", "f", "no", "n", "off", "0"})
_HEADER_NAME: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")


def text(value: str) -> str:
    """Any text."""
    return value


def flag(value: str) -> bool:
    """True or false, in the words that pydantic accepts."""
    word = value.strip().lower()
    if word not in _TRUE | _FALSE:
        raise ValueError("must be true or false")
    return word in _TRUE


def url(value: str) -> str:
    """An HTTP address, without a slash at its end."""
    try:
        parts = urlsplit(value.strip())
        usable = parts.scheme in ("http", "https") and bool(parts.hostname)
        usable = usable and (parts.port is None or parts.port > 0)
    except ValueError:
        usable = False
    if not usable or re.search(r"\s", value.strip()):
        raise ValueError("must be an address such as http://127.0.0.1:4200/api")
    return value.strip().rstrip("/")


def number(*, above: float | None = None, at_least: float | None = None) -> Parse:
    """A finite number within bounds."""
    bound = "" if above is None else f" greater than {above:g}"
    bound += "" if at_least is None else f" of at least {at_least:g}"

    def parse(value: str) -> float:
        try:
            parsed = float(value)
        except ValueError:
            parsed = math.nan
        fits = math.isfinite(parsed)
        fits = fits and (above is None or parsed > above)
        fits = fits and (at_least is None or parsed >= at_least)
        if not fits:
            raise ValueError(f"must be a number{bound}")
        return parsed

    return parse


def whole(at_least: int, at_most: int | None = None) -> Parse:
    """A whole number within bounds."""
    bound = f" of at least {at_least}" if at_most is None else f" from {at_least} to {at_most}"

    def parse(value: str) -> int:
        try:
            parsed = int(value)
        except ValueError:
            parsed = at_least - 1
        if parsed < at_least or (at_most is not None and parsed > at_most):
            raise ValueError(f"must be a whole number{bound}")
        return parsed

    return parse


def status_codes(value: str) -> frozenset[int]:
    """HTTP statuses, separated by commas."""
    parse = whole(100, 599)
    try:
        return frozenset(parse(part) for part in value.split(",") if part.strip())
    except ValueError:
        raise ValueError("must be HTTP statuses from 100 to 599, separated by commas") from None


def headers(value: str) -> Mapping[str, str]:
    """A JSON object of HTTP header names and values."""
    wrong = ValueError('must be a JSON object of HTTP headers, such as {"X-Team": "data"}')
    try:
        parsed = json.loads(value)
    except ValueError:
        raise wrong from None
    if not isinstance(parsed, dict):
        raise wrong
    for name, content in parsed.items():
        if not isinstance(content, str) or not _HEADER_NAME.fullmatch(name):
            raise wrong
        printable = content.isprintable() and content == content.strip()
        if not printable or not content.isascii():
            raise ValueError(f"has a value for {name} that cannot be sent in a header")
    return MappingProxyType(parsed)


def log_level(value: str) -> str:
    """The name of a level of :mod:`logging`; the text may be its number."""
    name = value.strip().upper()
    if name.isdecimal():
        name = logging.getLevelName(int(name))
    if name not in logging.getLevelNamesMapping():
        raise ValueError("must be a log level such as DEBUG, INFO or WARNING")
    return name
