"""A run whose supervisor died: its successor asks again for whatever was under way."""

from __future__ import annotations

from dataclasses import replace

from ...domain.process import ExitStatus
from ...domain.record import Phase, Reason
from .beginning import Beginning
from .effects import Emit, EventKind, Prepare, TellPid
from .ending import Ending
from .proposals import claim
from .stimuli import Adopted, Exited


class Adoption(Beginning, Ending):
    """From what record and keeper tell to the point where the run goes on."""

    def _adopted(self, adopted: Adopted) -> None:
        """The keeper knows better than the record whether there is a process: disks fill up."""
        record = self._record
        self.run = replace(self.run, tree_gone=adopted.pid is None or adopted.rebooted)
        match record.phase:
            case Phase.CLAIMING | Phase.PREPARING | Phase.SPAWNING if adopted.pid is not None:
                self._save(phase=Phase.SPAWNING, pid=adopted.pid)
                if adopted.rebooted:
                    self._ended_unseen(Reason.MACHINE_RESTARTED)
                else:
                    self._spawned(adopted.pid)
            case Phase.CLAIMING:
                self._propose(claim(record))
            case Phase.PREPARING | Phase.SPAWNING if record.cancelling or record.reason:
                self._never_started_on_purpose()
            case Phase.PREPARING | Phase.SPAWNING:
                self._save(phase=Phase.PREPARING)
                self._do(Prepare())
            case Phase.RUNNING if adopted.rebooted or adopted.pid is None:
                self._ended_unseen(Reason.MACHINE_RESTARTED if adopted.rebooted else Reason.LOST)
            case Phase.RUNNING:
                self._resume_running()
            case Phase.REPORTING:
                if record.exit is None and not self.run.tree_gone:
                    self._end_tree()  # its worker had failed: perhaps before it ordered the end
                if record.exit is not None:
                    self._do(Emit(kind=EventKind.EXECUTED))  # a repeat has the same id
                if record.report is not None:
                    self._propose(record.report)
                elif record.cancelling is not None:
                    self._check_state()  # Cancelled may be accepted, and its event not emitted
            case Phase.OVER:
                pass

    def _ended_unseen(self, reason: Reason) -> None:
        self._save(reason=self._record.reason or reason)
        self._exited(Exited(status=ExitStatus(code=None)))

    def _resume_running(self) -> None:
        record = self._record
        if record.pid is not None:
            self._do(TellPid(pid=record.pid))
        if record.report is not None:
            self._propose(record.report)
        if record.cancelling is not None or record.reason is not None:
            self._end_tree()
        else:
            self._arm_timeout()
