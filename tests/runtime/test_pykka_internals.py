"""pykka's private names stand in one file: a release that changes them needs no search."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pykka

import actors

PACKAGE = Path(actors.__file__).parent
ALLOWED = PACKAGE / "runtime" / "pykka_internals.py"

EXTENDED = ("_actor.py", "_ref.py", "_future.py")
"""The modules of pykka whose classes ours are made from."""


def is_private(name: str) -> bool:
    return name.startswith("_") and not name.startswith("__")


def private_imports(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "pykka":
            names = [*(node.module or "").split("."), *(alias.name for alias in node.names)]
            yield from filter(is_private, names)


def private_attributes(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        match node:
            case ast.Attribute(attr=name) | ast.FunctionDef(name=name) if is_private(name):
                yield name


def test_private_things_of_pykka_are_imported_in_one_file() -> None:
    assert {path for path in PACKAGE.rglob("*.py") if any(private_imports(path))} == {ALLOWED}


def test_private_attributes_of_pykka_are_used_in_one_file() -> None:
    pykkas = Path(pykka.__file__).parent
    theirs = {name for file in EXTENDED for name in private_attributes(pykkas / file)}
    assert {"_create_future", "_handle_receive", "_actor_weakref", "_get_hook"} <= theirs
    assert [
        f"{path.name}: {name}"
        for path in sorted(ALLOWED.parent.glob("*.py"))
        if path != ALLOWED
        for name in theirs.intersection(private_attributes(path))
    ] == []
