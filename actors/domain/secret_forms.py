"""How a secret may be written: by programs that print it, quote it, escape it or encode it."""

from __future__ import annotations

import html
import json
import re
import shlex
from base64 import b64encode
from collections.abc import Callable, Iterator
from typing import Final
from urllib.parse import quote, quote_plus

from .plain_text import plain


def forms_of(secret: str) -> Iterator[str]:
    """The ways in which ``secret`` may be written, itself among them; some more than once."""
    for write in _WRITINGS:
        yield write(secret)
    for core in _base64_cores(_bytes(secret)):
        yield core
        yield core.replace("+", "-").replace("/", "_")
        yield quote(core, safe="")


def _bytes(text: str) -> bytes:
    """As a process has it in its environment; any text can be told, broken Unicode too."""
    try:
        return text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return text.encode("utf-8", "surrogatepass")


def _base64_cores(data: bytes) -> Iterator[str]:
    """The characters that ``data`` alone decides in base64, wherever in other data it stands.

    Base64 writes three bytes as four characters, so there are three of them. One is there, for
    instance, when the data is the password in ``user:password``, whoever the user is.
    """
    for before in range(3):
        encoded = b64encode(b"\0" * before + data).decode()
        first = -(-before * 8 // 6)
        yield encoded[first : (before + len(data)) * 8 // 6]


def _json(text: str) -> str:
    return json.dumps(text)[1:-1]


def _json_as_utf8(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)[1:-1]


def _json_for_html(text: str) -> str:
    """As Go writes it."""
    escaped = _json_as_utf8(text)
    return re.sub("[<>&]", lambda match: f"\\u{ord(match[0]):04x}", escaped)


def _repr(text: str) -> str:
    """With the single quotes as they are, if there are no double quotes."""
    return repr(text)[1:-1]


def _repr_in_single_quotes(text: str) -> str:
    """As within a longer text that Python puts between single quotes."""
    return repr('"' + text)[2:-1]


def _lower_case_percents(text: str) -> str:
    return re.sub("%..", lambda match: match[0].lower(), quote(_bytes(text), safe=""))


_WRITINGS: Final[tuple[Callable[[str], str], ...]] = (
    str,
    # printed by a process and read by us
    lambda text: _bytes(text).decode("utf-8", "replace"),
    lambda text: plain(text, keep_newlines=True),
    # URLs: all percent-encoded, all but slashes, as forms are, as JavaScript does it
    lambda text: quote(_bytes(text), safe=""),
    _lower_case_percents,
    lambda text: quote(_bytes(text)),
    lambda text: quote_plus(_bytes(text)),
    lambda text: quote(_bytes(text), safe="!*'()"),
    # Python
    _repr,
    _repr_in_single_quotes,
    lambda text: repr(_bytes(text))[2:-1],
    lambda text: repr(b'"' + _bytes(text))[3:-1],
    lambda text: ascii(text)[1:-1],
    # JSON; as Go and PHP write it; within JSON, and within Python's quotes
    _json,
    _json_as_utf8,
    _json_for_html,
    lambda text: _json(text).replace("/", r"\/"),
    lambda text: _json(_json(text)),
    lambda text: _repr_in_single_quotes(_json(text)),
    # shells: Python's way to quote, that of bash's xtrace, and backslashes
    lambda text: shlex.quote(text).removeprefix("'").removesuffix("'"),
    lambda text: text.replace("'", r"'\''"),
    lambda text: re.sub(r"([^\w@%+=:,./-])", r"\\\1", text),
    # HTML and XML
    html.escape,
    lambda text: html.escape(text, quote=False),
)
