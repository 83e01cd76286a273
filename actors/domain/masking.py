"""Masks secrets in messages, logs and pages.

A secret is a value that comes from a block, or from a variable whose name says so. It is found as
a whole, line by line, escaped and encoded, and replaced by asterisks.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from typing import Final
from urllib.parse import unquote

from .model import Json
from .secret_forms import forms_of

MASK: Final = "********"

MIN_SECRET_LENGTH: Final = 4
"""Shorter values are not masked: they occur by chance."""

_SECRET_NAME: Final = re.compile(
    r"PASSWORD|PASSWD|PASSPHRASE|SECRET|CREDENTIAL|TOKEN(?!IZER)"
    r"|(API|ACCESS|PRIVATE|SIGNING|ENCRYPTION)_?KEY|AUTH_?STRING|CONNECTION_?(STRING|URL)",
    re.IGNORECASE,
)
"""A secret wherever it occurs in a name, as in PGPASSWORD."""

_SECRET_WORDS: Final = frozenset(["PASS", "SSHPASS", "PWD", "KEY", "KEYS", "PAT", "JWT", "AUTH"])
"""A secret as the last word of a name: GITHUB_PAT, but not PATH, PAT_LIST or BYPASS."""

_ATTRIBUTES: Final = frozenset(
    ["B", "BASE", "HEX", "PEM", "OLD", "NEW", "DEV", "TEST", "STAGING", "PROD", "PRODUCTION"]
)
"""Words that may follow such a word: SSH_KEY_BASE64, DB_PASS_2, DB_PASS_PROD."""

_NO_SECRET_KEYS: Final = frozenset(
    ["PRIMARY", "FOREIGN", "PUBLIC", "SORT", "PARTITION", "ROUTING", "CACHE", "OBJECT"]
)
"""Words before KEY that mean an identifier or a public key."""

_WORD: Final = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")
"""The letters of one word, in ``DB_PASS`` and ``dbPass`` alike."""

_PASSWORD_IN_URL: Final = re.compile(r"\w://[^/\s:]*:([^/\s]+)@")
"""Up to the last ``@`` of the authority: a password may hold an ``@`` that is not encoded."""

_PLAIN_VALUE: Final = re.compile(r"true|false|none|null|yes|no|on|off|[\d.,]+", re.IGNORECASE)
"""A switch or a number, as in MAX_TOKENS=4096, is no secret, whatever its name."""


def is_secret_name(name: str) -> bool:
    """Whether a variable of this name is expected to hold a secret."""
    if _SECRET_NAME.search(name):
        return True
    words = [word.upper() for word in _WORD.findall(name)]
    while words and words[-1] in _ATTRIBUTES:
        words.pop()
    match words:
        case ["PWD"]:
            return False  # a shell's working directory
        case [*_, before, "KEY" | "KEYS"] if before in _NO_SECRET_KEYS:
            return False
        case [*_, last]:
            return last in _SECRET_WORDS
        case _:
            return False


def texts_in(tree: Json) -> Iterator[str]:
    """Every text in a tree of JSON, without the keys of mappings."""
    match tree:
        case str():
            yield tree
        case Mapping():
            for value in tree.values():
                yield from texts_in(value)
        case list():
            for item in tree:
                yield from texts_in(item)


def secrets_in(tree: Json) -> frozenset[str]:
    """Every text in ``tree`` that is long enough to be masked."""
    return frozenset(text for text in texts_in(tree) if len(text) >= MIN_SECRET_LENGTH)


def secrets_in_environment(env: Mapping[str, str | None]) -> frozenset[str]:
    """The values of variables named like secrets, and passwords within URLs."""
    found: set[str] = set()
    for name, value in env.items():
        if value and is_secret_name(name) and not _PLAIN_VALUE.fullmatch(value):
            found.add(value)
        found.update(passwords_in_addresses(value or ""))
    return frozenset(found)


def passwords_in_addresses(text: str) -> Iterator[str]:
    """The passwords of all URLs in ``text``, as written and decoded."""
    for password in _PASSWORD_IN_URL.findall(text):
        yield from {password, unquote(password)}


class Masker:
    """Replaces secrets by asterisks. Secrets that are too short are ignored.

    _by_start holds the forms of all secrets by their first characters, the longest first; _start
    finds these characters. A regular expression of all forms would take far longer to compile:
    each secret has dozens of them.
    """

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        forms = {form for secret in secrets for form in _forms(secret)}
        self._by_start: dict[str, list[str]] = {}
        for form in sorted(forms, key=len, reverse=True):
            self._by_start.setdefault(form[:MIN_SECRET_LENGTH], []).append(form)
        self._start = _any_of(self._by_start)

    def text(self, text: str) -> str:
        """``text`` without the secrets, overlapping ones included."""
        if not self._by_start:
            return text
        shown: list[str] = []
        at = end = 0
        while found := self._start.search(text, at):
            at = found.start()
            for form in self._by_start[found[0]]:
                if text.startswith(form, at):
                    if at >= end:
                        shown += (text[end:at], MASK)
                    end = max(end, at + len(form))
                    break
            at += 1
        return "".join([*shown, text[end:]])

    def command(self, argv: Iterable[str]) -> str:
        """A shell command of ``argv``, without the secrets.

        Each argument is masked before it is quoted, because quoting changes a secret.
        """
        masked = map(self.text, argv)
        return " ".join(MASK if argument == MASK else shlex.quote(argument) for argument in masked)


@lru_cache(maxsize=1)
def masker_of(secrets: frozenset[str]) -> Masker:
    """The Masker of secrets that seldom change; the last one is kept."""
    return Masker(secrets)


def _forms(secret: str) -> Iterator[str]:
    """All forms of a secret and of each of its lines."""
    for part in {secret, *secret.splitlines()}:
        stripped = part.strip()
        if len(stripped) >= MIN_SECRET_LENGTH:
            yield from (form for form in forms_of(stripped) if len(form) >= MIN_SECRET_LENGTH)


def _any_of(starts: Iterable[str]) -> re.Pattern[str]:
    """Finds any of these texts. Groups by their first character make the search faster."""
    groups: dict[str, list[str]] = {}
    for start in starts:
        groups.setdefault(start[0], []).append(re.escape(start[1:]))
    return re.compile("|".join(f"{re.escape(k)}(?:{'|'.join(v)})" for k, v in groups.items()))
