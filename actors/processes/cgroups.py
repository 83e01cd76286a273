"""What a control group says of its memory (cgroups(7), the kernel's cgroup-v2 and v1 documents).

Everything is read from files that the kernel makes up; what is not there is None.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

MOUNT = Path("/sys/fs/cgroup")
"""Where version 2 is, or the folder with version 1's ``memory`` in it."""


@dataclass(frozen=True, slots=True)
class Cgroup:
    """One control group with a memory controller."""

    folder: Path
    mount: Path
    version: int = 2

    def kernel_kills(self) -> int | None:
        """How many of its processes the kernel has ever killed for lack of memory."""
        file = "memory.events" if self.version == 2 else "memory.oom_control"
        return _fields(self.folder / file).get("oom_kill")

    def used_percent(self) -> float | None:
        """How much of what it may have it uses; None without a limit.

        Limits of the groups above count too. File contents that can be dropped do not count.
        """
        used = [percent for level in self.levels() if (percent := self._used(level)) is not None]
        return max(used, default=None)

    def levels(self) -> Iterator[Path]:
        """Its folder and those of the groups above it, up to what is mounted."""
        yield self.folder
        for parent in self.folder.parents:
            if not parent.is_relative_to(self.mount):
                return
            yield parent

    def _used(self, folder: Path) -> float | None:
        names = ("memory.current", "memory.max", "inactive_file")
        if self.version == 1:
            names = (
                "memory.usage_in_bytes",
                "memory.limit_in_bytes",
                "total_inactive_file",
            )
        used, limit = _number(folder / names[0]), _number(folder / names[1])
        if used is None or not limit or limit >= 1 << 60:  # version 1 writes a huge number
            return None
        droppable = _fields(folder / "memory.stat").get(names[2], 0)
        return 100.0 * max(0, used - droppable) / limit


def of_process(
    pid: int | None = None, *, proc: Path = Path("/proc"), mount: Path = MOUNT
) -> Cgroup | None:
    """The group whose memory controller counts ``pid``'s memory (default: our own)."""
    for line in _lines(proc / ("self" if pid is None else str(pid)) / "cgroup"):
        number, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if number == "0" and not controllers and (mount / "cgroup.controllers").exists():
            return _with_memory(Cgroup(mount / path.lstrip("/"), mount))
        if "memory" in controllers.split(","):
            return Cgroup(mount / "memory" / path.lstrip("/"), mount / "memory", version=1)
    return None


def _with_memory(group: Cgroup) -> Cgroup:
    """The nearest one from ``group`` upwards that has the controller, such as the service's.

    Chosen once, as a run's own group has none and is gone by the time that its end is looked at.
    """
    counting = (level for level in group.levels() if (level / "memory.events").exists())
    return Cgroup(next(counting, group.folder), group.mount)


def _fields(file: Path) -> dict[str, int]:
    """Lines of a name and a number."""
    pairs = (line.split() for line in _lines(file))
    return {pair[0]: int(pair[1]) for pair in pairs if len(pair) == 2 and pair[1].isdecimal()}


def _number(file: Path) -> int | None:
    for line in _lines(file):
        return int(line) if line.isdecimal() else None
    return None


def _lines(file: Path) -> list[str]:
    try:
        return file.read_text().splitlines()
    except OSError:
        return []
