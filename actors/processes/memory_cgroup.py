"""Memory of control groups (cgroups(7), the kernel's cgroup-v2 and v1 documents).

What the kernel's files do not tell is None.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ..keeper import cgroup


@dataclass(frozen=True, slots=True)
class MemoryCgroup:
    """A control group with a memory controller."""

    folder: Path
    mount: Path
    """Where its hierarchy is mounted."""
    version: int = 2

    def kernel_kills(self) -> int | None:
        """How many of its processes the kernel has ever killed for lack of memory."""
        file = "memory.events" if self.version == 2 else "memory.oom_control"
        return _fields(self.folder / file).get("oom_kill")

    def held_bytes(self) -> int | None:
        """What its processes hold, without the page cache in use."""
        used = self._used(self.folder)
        return None if used is None else max(0, used - self._cached(self.folder, "active_file"))

    def used_percent(self) -> float | None:
        """Its memory in percent of the limit; None without a limit.

        Limits of the groups above count too. Page cache that was not used lately does not.
        """
        used = map(self._percent, self._levels())
        return max((percent for percent in used if percent is not None), default=None)

    def counting(self) -> MemoryCgroup:
        """The nearest group upwards from this one that has the controller."""
        if self.version == 1:
            return self
        levels = (level for level in self._levels() if (level / "memory.events").exists())
        return MemoryCgroup(next(levels, self.folder), self.mount)

    def _levels(self) -> Iterator[Path]:
        """Its folder and those of the groups above it, up to the mount."""
        yield self.folder
        for parent in self.folder.parents:
            if not parent.is_relative_to(self.mount):
                return
            yield parent

    def _percent(self, folder: Path) -> float | None:
        name = "memory.max" if self.version == 2 else "memory.limit_in_bytes"
        used, limit = self._used(folder), _number(folder / name)
        if used is None or not limit or limit >= 1 << 60:  # version 1 writes a huge number
            return None
        return 100.0 * max(0, used) / limit

    def _used(self, folder: Path) -> int | None:
        name = "memory.current" if self.version == 2 else "memory.usage_in_bytes"
        used = _number(folder / name)
        return None if used is None else used - self._cached(folder, "inactive_file")

    def _cached(self, folder: Path, name: str) -> int:
        """A field of its statistics, including the groups below it."""
        name = name if self.version == 2 else f"total_{name}"
        return _fields(folder / "memory.stat").get(name, 0)


def memory_cgroup_of(pid: int | str = "self", *, proc: str = "/proc") -> MemoryCgroup | None:
    """The group whose memory controller counts the memory of ``pid`` (default: our own)."""
    for version, folder, mount in cgroup.folders(pid, "memory", proc=proc):
        return MemoryCgroup(Path(folder), Path(mount), version).counting()
    return None


def _fields(file: Path) -> dict[str, int]:
    """Reads lines of a name and a number."""
    pairs = [line.split() for line in _read(file).splitlines()]
    return {pair[0]: int(pair[1]) for pair in pairs if len(pair) == 2 and pair[1].isdecimal()}


def _number(file: Path) -> int | None:
    content = _read(file).strip()
    return int(content) if content.isdecimal() else None


def _read(file: Path) -> str:
    try:
        return file.read_text()
    except OSError:
        return ""
