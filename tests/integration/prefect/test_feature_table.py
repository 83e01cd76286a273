"""The table of features promises a test for each of its lines."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
DOCUMENT = ROOT / "config" / "docs" / "features.rst"
TABLE, _, _ = DOCUMENT.read_text(encoding="utf-8").partition("\nHooks\n")

LINES = [
    [cell.strip() for cell in re.split(r"\n\s+- ", line)]
    for line in re.split(r"\n\s+\* - ", TABLE)[2:]
]

EXCUSES = {"skip", "skipif", "xfail", "importorskip"}


def test_the_table_is_whole() -> None:
    assert len(LINES) > 70
    assert {len(cells) for cells in LINES} == {5}


def test_nothing_in_the_table_was_not_looked_into() -> None:
    assert [
        cells[0] for cells in LINES if not all(cells) or {"\u2013", "-", "?"} & set(cells)
    ] == []


@pytest.mark.parametrize("cells", LINES, ids=lambda cells: cells[0])
def test_a_line_names_a_test_that_is_there_and_must_pass(cells: list[str]) -> None:
    path, _, name = cells[-1].strip("`").partition("::")
    module = ast.parse((ROOT / path).read_text(encoding="utf-8"))
    [test] = [each for each in functions(module) if each.name == name]
    assert EXCUSES & words_in(test, *marks_of(module)) == set()


@pytest.mark.parametrize(
    "text",
    [
        "@pytest.mark.xfail(reason='one day')\ndef test(): pass",
        "@pytest.mark.skip\ndef test(): pass",
        "async def test():\n    if True:\n        pytest.skip('not here')",
        "pytestmark = [pytest.mark.skipif(True, reason='never')]\ndef test(): pass",
    ],
)
def test_an_excuse_is_found(text: str) -> None:
    module = ast.parse(text)
    [test] = functions(module)
    assert EXCUSES & words_in(test, *marks_of(module))


def functions(module: ast.Module) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in module.body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def marks_of(module: ast.Module) -> Iterator[ast.expr]:
    """What is said of all tests of a module."""
    for node in module.body:
        if isinstance(node, ast.Assign) and "pytestmark" in words_in(*node.targets):
            yield node.value


def words_in(*nodes: ast.AST) -> set[str]:
    """Every name and attribute in it."""
    within = [each for node in nodes for each in ast.walk(node)]
    names = {each.id for each in within if isinstance(each, ast.Name)}
    return names | {each.attr for each in within if isinstance(each, ast.Attribute)}
