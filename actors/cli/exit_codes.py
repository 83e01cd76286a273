"""The exit codes of ``actor-worker``; the README and ``--help`` explain them."""

from __future__ import annotations

from typing import Final

FAILURE: Final = 1
"""Something failed: the message is on stderr."""
USAGE: Final = 2
"""A wrong option or setting."""
INTERRUPTED: Final = 130
"""Told to stop before it had started: 128 and SIGINT, as shells have it."""
