"""Keeping secrets out of messages, logs and pages, as well as it can be done by looking.

A secret is known by its value (it came from a block, or from a variable named like a secret).
Wherever it is written, as it is, line by line, escaped or encoded, asterisks stand instead.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Final
from urllib.parse import unquote

from .json_tree import texts_in
from .model import Json
from .secret_forms import forms_of

MASK: Final = "********"

MIN_SECRET_LENGTH: Final = 4
"""Shorter values are not masked: they occur everywhere by chance."""

_SECRET_NAME: Final = re.compile(
    r"PASSWORD|PASSWD|PASSPHRASE|SECRET|CREDENTIAL|TOKEN(?!IZER)"
    r"|(API|ACCESS|PRIVATE|SIGNING|ENCRYPTION)_?KEY|AUTH_?STRING|CONNECTION_?(STRING|URL)",
    re.IGNORECASE,
)
"""What is unmistakable, also as a part of a word such as PGPASSWORD."""

_SECRET_WORDS: Final = frozenset(["PASS", "SSHPASS", "PWD", "KEY", "KEYS", "PAT", "JWT", "AUTH"])
"""What is a secret as the last word of a name: GITHUB_PAT, but not PATH, PAT_LIST or COMPASS."""

_ATTRIBUTES: Final = frozenset(
    ["B", "BASE", "HEX", "PEM", "OLD", "NEW", "DEV", "TEST", "STAGING", "PROD", "PRODUCTION"]
)
"""Words that may follow it: SSH_KEY_BASE64, DB_PASS_2, DB_PASS_PROD."""

_NO_SECRET_KEYS: Final = frozenset(
    ["PRIMARY", "FOREIGN", "PUBLIC", "SORT", "PARTITION", "ROUTING", "CACHE", "OBJECT"]
)
"""Words whose KEY identifies something, or is for everybody."""

_WORD: Final = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")
"""The letters of one word, in ``DB_PASS`` and ``dbPass`` alike."""

_PASSWORD_IN_URL: Final = re.compile(r"\w://[^/\s:]*:([^/\s]+)@")
"""Up to the last ``@`` of the authority: people do not always encode those of a password."""

_PLAIN_VALUE: Final = re.compile(r"true|false|none|null|yes|no|on|off|[\d.,]+", re.IGNORECASE)
"""A switch or a number, such as in MAX_TOKENS=4096: no secret, whatever its name."""


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


def secrets_in(tree: Json) -> frozenset[str]:
    """Every text in ``tree`` that is long enough to be masked."""
    return frozenset(text for text in texts_in(tree) if len(text) >= MIN_SECRET_LENGTH)


def secrets_in_environment(env: Mapping[str, str | None]) -> frozenset[str]:
    """The values of variables named like secrets, and passwords within URLs."""
    return frozenset(
        secret for name, value in env.items() if value for secret in _secrets_of(name, value)
    )


def _secrets_of(name: str, value: str) -> Iterator[str]:
    if is_secret_name(name) and not _PLAIN_VALUE.fullmatch(value):
        yield value
    yield from passwords_in_addresses(value)


def passwords_in_addresses(text: str) -> Iterator[str]:
    """The passwords of all addresses in ``text``: as they stand there, and decoded."""
    for password in _PASSWORD_IN_URL.findall(text):
        yield from {password, unquote(password)}


class Masker:
    """Replaces what it knows to be secret. Secrets that are too short are ignored.

    Owns: _by_start (all forms of all secrets by their first characters, the longest first) and
    _start (finds these characters). A search for the whole forms would take as long, and far
    longer to prepare: there are dozens of forms of a secret.
    """

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        forms = {form for secret in secrets for form in _forms(secret)}
        self._by_start: dict[str, list[str]] = {}
        for form in sorted(forms, key=len, reverse=True):
            self._by_start.setdefault(form[:MIN_SECRET_LENGTH], []).append(form)
        self._start = _any_of(self._by_start)

    def text(self, text: str) -> str:
        """``text`` without the secrets. Where they overlap, all of them are masked."""
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
        """A command line as a shell would take it, without the secrets.

        Each argument is masked before it is quoted: quoting changes a secret.
        """
        masked = map(self.text, argv)
        return " ".join(MASK if argument == MASK else shlex.quote(argument) for argument in masked)


class CurrentMask:
    """Masks a text as a Masker does, with the secrets that ``secrets`` answers at the time."""

    def __init__(self, secrets: Callable[[], frozenset[str]]) -> None:
        self._secrets = secrets
        self._known: frozenset[str] = frozenset()
        self._masker = Masker()

    def __call__(self, text: str) -> str:
        """``text`` without what is secret by now."""
        known = self._secrets()
        if known != self._known:
            self._known, self._masker = known, Masker(known)
        return self._masker.text(text)


def _forms(secret: str) -> Iterator[str]:
    """What may be seen of a secret: the whole, or one of its lines."""
    for part in {secret, *secret.splitlines()}:
        stripped = part.strip()
        if len(stripped) >= MIN_SECRET_LENGTH:
            yield from (form for form in forms_of(stripped) if len(form) >= MIN_SECRET_LENGTH)


def _any_of(starts: Iterable[str]) -> re.Pattern[str]:
    """Finds any of these texts. They are grouped by their first character, which is faster."""
    groups: dict[str, list[str]] = {}
    for start in starts:
        groups.setdefault(start[0], []).append(re.escape(start[1:]))
    return re.compile("|".join(f"{re.escape(k)}(?:{'|'.join(v)})" for k, v in groups.items()))
