"""Keeping secrets out of messages, logs and pages, as well as it can be done by looking.

A secret is known by its value (it came from a block, or from a variable named like a secret);
whatever prints it, in whole lines or percent-encoded, shows asterisks instead.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Final
from urllib.parse import quote, unquote

from .model import Json
from .placeholders import rewrite, texts_in

MASK: Final = "********"

MIN_SECRET_LENGTH: Final = 4
"""Shorter values are not masked: they occur everywhere by chance."""

_SECRET_NAME: Final = re.compile(
    r"PASSWORD|PASSWD|PASSPHRASE|SECRET|CREDENTIAL|TOKEN(?!IZER)"
    r"|(API|ACCESS|PRIVATE|SIGNING|ENCRYPTION)_?KEY|AUTH_?STRING|CONNECTION_?(STRING|URL)"
    r"|(?!^)(?<!^OLD)PWD(?![A-Z])",
    re.IGNORECASE,
)
"""MYSQL_PWD is one; a shell's PWD and OLDPWD are folders."""

_PASSWORD_IN_URL: Final = re.compile(r"\w://[^/\s:]*:([^/\s]+)@")
"""Up to the last ``@`` of the authority: people do not always encode those of a password."""

_PLAIN_VALUE: Final = re.compile(r"true|false|none|null|yes|no|on|off|[\d.,]+", re.IGNORECASE)
"""A switch or a number, such as in MAX_TOKENS=4096: no secret, whatever its name."""


def is_secret_name(name: str) -> bool:
    """Whether a variable of this name is expected to hold a secret."""
    return _SECRET_NAME.search(name) is not None


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
    """Replaces what it knows to be secret. Secrets that are too short are ignored."""

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        forms = {form for secret in secrets for form in _forms(secret)}
        self._pattern = (
            re.compile("|".join(re.escape(form) for form in sorted(forms, key=len, reverse=True)))
            if forms
            else None
        )

    def text(self, text: str) -> str:
        """``text`` without the secrets."""
        return text if self._pattern is None else self._pattern.sub(MASK, text)

    def tree(self, tree: Json) -> Json:
        """A copy of a tree of mappings and lists without the secrets in its texts.

        What stands under a key that is named like a secret is masked altogether.
        """
        return rewrite(_without_secret_keys(tree), self.text)


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
    """How a secret may be seen: as it is, line by line, percent-encoded."""
    for part in (secret, *secret.splitlines()):
        stripped = part.strip()
        if len(stripped) >= MIN_SECRET_LENGTH:
            yield stripped
            yield quote(stripped, safe="")


def _without_secret_keys(tree: Json) -> Json:
    match tree:
        case Mapping():
            return {
                key: MASK
                if is_secret_name(str(key)) and isinstance(value, str)
                else _without_secret_keys(value)
                for key, value in tree.items()
            }
        case list():
            return [_without_secret_keys(item) for item in tree]
        case _:
            return tree
