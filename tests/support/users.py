"""Other users than the one who runs the tests, where that one is root."""

from __future__ import annotations

import os
from typing import Final

import pytest

NOBODY: Final = 65534
"""A user, and a group, that own nothing."""

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can be somebody else")
