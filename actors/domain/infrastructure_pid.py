"""Reading ``infrastructure_pid`` as any version of Prefect's worker writes it (contract 7.4)."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class InfrastructurePid:
    """Where a run's process is said to be; ``host`` None where only the pid was written."""

    host: str | None
    pid: int


def parse_infrastructure_pid(text: str) -> InfrastructurePid | None:
    """Split at the last colon, so that IPv6 hosts survive; None when there is no number."""
    host, _, pid = text.rpartition(":")
    if not pid.isdecimal():
        return None
    return InfrastructurePid(host or None, int(pid))
