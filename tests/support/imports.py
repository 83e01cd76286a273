"""Reads which module of a package imports which, and finds circles."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

PACKAGE = "actors"


@dataclass(frozen=True)
class Arrow:
    source: str
    target: str
    line: int

    def __str__(self) -> str:
        return f"{self.source} (line {self.line}) imports {self.target}"


def name_of(path: Path, root: Path) -> str:
    parts = path.relative_to(root).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def modules(root: Path) -> dict[str, Path]:
    paths = sorted((root / PACKAGE).rglob("*.py"))
    return {name_of(path, root): path for path in paths}


def arrows(path: Path, root: Path) -> Iterator[Arrow]:
    """Every import statement of a file, wherever in the file it stands; relative ones resolved."""
    source = name_of(path, root)
    package = source if path.name == "__init__.py" else source.rpartition(".")[0]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield Arrow(source, alias.name, node.lineno)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                ancestors = package.split(".")
                anchor = ancestors[: len(ancestors) - (node.level - 1)]
                base = ".".join([*anchor, base] if base else anchor)
            for alias in node.names:
                # "from .. import domain" names a module, "from ..domain import x" a thing in it
                name = f"{base}.{alias.name}"
                inside = (root / Path(*name.split("."))).with_suffix(".py").exists() or (
                    root / Path(*name.split("."))
                ).is_dir()
                yield Arrow(source, name if inside else base, node.lineno)


def graph(root: Path) -> dict[str, set[str]]:
    """The modules of ours that each module imports."""
    ours = modules(root)
    return {
        name: {arrow.target for arrow in arrows(path, root)} & ours.keys() - {name}
        for name, path in ours.items()
    }


def circles(imports: Mapping[str, Iterable[str]]) -> list[list[str]]:
    """Modules that lead back to themselves, each circle once (Tarjan's components)."""
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    found: list[list[str]] = []

    def visit(name: str) -> None:
        index[name] = low[name] = len(index)
        stack.append(name)
        for target in imports[name]:
            if target not in index:
                visit(target)
                low[name] = min(low[name], low[target])
            elif target in stack:
                low[name] = min(low[name], index[target])
        if low[name] == index[name]:
            circle = []
            while (last := stack.pop()) != name:
                circle.append(last)
            if circle:
                found.append(sorted([name, *circle]))

    for name in imports:
        if name not in index:
            visit(name)
    return found
