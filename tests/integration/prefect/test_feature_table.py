"""The table of features promises a test for each of its lines."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
_, _, REST = (ROOT / "README.rst").read_text(encoding="utf-8").partition("\nCompared with")
TABLE, _, _ = REST.partition("\nHooks:")

LINES = [
    [cell.strip() for cell in re.split(r"\n\s+- ", line)]
    for line in re.split(r"\n\s+\* - ", TABLE)[2:]
]


def test_the_table_is_whole() -> None:
    assert len(LINES) > 70
    assert {len(cells) for cells in LINES} == {5}


@pytest.mark.parametrize("cells", LINES, ids=lambda cells: cells[0])
def test_a_line_names_a_test_that_exists(cells: list[str]) -> None:
    path, _, name = cells[-1].strip("`").partition("::")
    assert re.search(rf"^(async )?def {name}\(", (ROOT / path).read_text(), re.MULTILINE)
