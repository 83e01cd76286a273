"""The forms in which programs print a secret: quoted, escaped or encoded."""

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
    """All forms of ``secret``, itself included, with repetitions."""
    for write in _WRITINGS:
        yield write(secret)
    for core in _base64_cores(_bytes(secret)):
        yield core
        yield core.replace("+", "-").replace("/", "_")
        yield quote(core, safe="")


def _bytes(text: str) -> bytes:
    """``text`` as in a process's environment; broken Unicode is allowed."""
    try:
        return text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return text.encode("utf-8", "surrogatepass")


def _base64_cores(data: bytes) -> Iterator[str]:
    """The characters of a base64 text that depend on ``data`` alone, whatever surrounds it.

    Base64 turns three bytes into four characters, so there are three possible alignments. This
    finds the password in an encoded ``user:password`` of any user.
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
    """As Go's encoder writes JSON."""
    escaped = _json_as_utf8(text)
    return re.sub("[<>&]", lambda match: f"\\u{ord(match[0]):04x}", escaped)


def _repr(text: str) -> str:
    """Single quotes stay unescaped unless there are double quotes, too."""
    return repr(text)[1:-1]


def _repr_in_single_quotes(text: str) -> str:
    """As part of a longer text that Python puts between single quotes."""
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
