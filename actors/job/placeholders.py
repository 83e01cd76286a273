"""``{{ placeholders }}``: grammar and replacement, as in ``prefect/utilities/templating.py``."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from enum import Enum, auto
from typing import Final

from ..domain.model import Json

PLACEHOLDER: Final = re.compile(r"{{\s*([\w.\-\[\]$]+)\s*}}")

BLOCK_PREFIX: Final = "prefect.blocks."
VARIABLE_PREFIX: Final = "prefect.variables."
ENVIRONMENT_PREFIX: Final = "$"


class Hole(Enum):
    """What a lookup may return instead of a value."""

    MISSING = auto()
    """There is no value: a lone placeholder goes with its key, one within text is cut out."""
    KEEP = auto()
    """A later pass fills it in: the placeholder stays."""


Lookup = Callable[[str], Json]
"""From a placeholder's name to its value, or to a :class:`Hole`."""


def fill_text(text: str, lookup: Lookup, embed: Callable[[Json], str] = str) -> Json:
    """``text`` with its placeholders replaced, once: values are not searched again.

    A text that is one placeholder and nothing else becomes the value itself, whatever its type;
    within other text the value is written by ``embed``.
    """

    def written(match: re.Match[str]) -> str:
        value = lookup(match[1])
        if value is Hole.KEEP:
            return match[0]
        return "" if value is Hole.MISSING else embed(value)

    if alone := PLACEHOLDER.fullmatch(text):
        value = lookup(alone[1])
        return text if value is Hole.KEEP else value
    return PLACEHOLDER.sub(written, text)


def rewrite(
    tree: Json,
    on_text: Callable[[str], Json],
    on_mapping: Callable[[Mapping[str, Json]], Json] = lambda _: Hole.KEEP,
) -> Json:
    """A copy of ``tree`` with every text replaced by ``on_text``, without those that are MISSING.

    ``on_mapping`` may replace a whole mapping, which is then not entered; KEEP enters it.
    """
    match tree:
        case str():
            return on_text(tree)
        case Mapping():
            replaced = on_mapping(tree)
            if replaced is not Hole.KEEP:
                return replaced
            pairs = ((key, rewrite(value, on_text, on_mapping)) for key, value in tree.items())
            return {key: value for key, value in pairs if value is not Hole.MISSING}
        case list():
            items = (rewrite(item, on_text, on_mapping) for item in tree)
            return [item for item in items if item is not Hole.MISSING]
        case _:
            return tree


def split_path(path: str) -> list[str]:
    """The parts of a key path: ``a.b[0].c`` is ``a``, ``b``, ``0``, ``c``."""
    return path.replace("[", ".").replace("]", "").split(".")


def at_path(tree: Json, path: str) -> Json:
    """The value at a key path, or MISSING. Numbers index lists and, as in Prefect, texts."""
    for part in split_path(path):
        try:
            tree = tree[part] if isinstance(tree, Mapping) else tree[int(part)]
        except (LookupError, ValueError, TypeError):
            return Hole.MISSING
    return tree
