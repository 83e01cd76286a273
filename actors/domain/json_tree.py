"""Walks trees of JSON."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from .model import Json


def texts_in(tree: Json) -> Iterator[str]:
    """Every text in a tree of mappings and lists, mapping keys excepted."""
    match tree:
        case str():
            yield tree
        case Mapping():
            for value in tree.values():
                yield from texts_in(value)
        case list():
            for item in tree:
                yield from texts_in(item)
