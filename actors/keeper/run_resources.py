"""What is made for a run before it starts, and unmade if it does not."""

from __future__ import annotations

import contextlib
import os

from .temp import TempDir

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from .cgroup import Cgroup, Cgroups


class Place:
    """Owns: temp_dir (None if the run has a directory), cgroup (None where there can be none)."""

    def __init__(self) -> None:
        self.temp_dir: TempDir | None = None
        self.cgroup: Cgroup | None = None

    def prepare(
        self, key: str, env: Mapping[str, str], cgroups: Cgroups, *, temp_dir: bool
    ) -> None:
        """Make it, for the run ``key`` with the environment ``env``. Raises OSError."""
        if temp_dir:
            self.temp_dir = TempDir.create(env.get("TMPDIR") or "/tmp")
        self.cgroup = cgroups.create(key)

    def enter(self) -> None:
        """In the run's process: be in the group from now on, or go without one."""
        if self.cgroup is not None:
            with contextlib.suppress(OSError):
                self.cgroup.enter()

    def leave(self) -> None:
        """In the run's process, which does not become the command: as if it never was."""
        if self.cgroup is not None:
            self.cgroup.leave()
        self.undo()

    def undo(self) -> None:
        """Remove all of it, once no process is there."""
        if self.cgroup is not None:
            self.cgroup.remove()
        if self.temp_dir is not None:
            with contextlib.suppress(OSError):
                os.rmdir(self.temp_dir.path)
