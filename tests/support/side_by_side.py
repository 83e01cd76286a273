"""Which tests go to the same process when pytest-xdist runs them side by side.

Its own ``--dist loadgroup`` marks groups in node ids, which pytest from 9.2 on does not take.
"""

from __future__ import annotations

import importlib
import re
from typing import Any

import pytest

_OF_SERIES = re.compile(r"^tests/(?:integration/prefect/.*\[|contract/.*\[(?:.*-)?real-)(3\.\d)\b")
_OF_FILE = re.compile(
    r"^(tests/integration/(?:prefect/test_protected_servers|(?:faults|load)/\w+)\.py)::"
)


def group_of(node_id: str) -> str:
    """Tests that share a server are a group; each of the others is one of its own."""
    patterns = (_OF_FILE, _OF_SERIES)
    found = next((match for pattern in patterns if (match := pattern.search(node_id))), None)
    return "".join(found.groups()) if found else node_id


def scheduler(config: pytest.Config, log: Any) -> Any:
    """Hands out whole groups."""
    # pytest-xdist has no types to inherit from, and is there only when it is asked for
    made = importlib.import_module("xdist.scheduler").LoadScopeScheduling(config, log)
    made._split_scope = group_of  # noqa: SLF001 - xdist asks nothing else
    return made
