"""A keeper without processes: what it holds outlives the worker, as the real one's does."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import count

from ..domain.errors import CouldNotStart, KeeperError
from ..domain.ids import ClaimKey
from ..domain.ports import Clock, FactListener
from ..domain.process import (
    ExitStatus,
    KeptRun,
    OutputWritten,
    ProcessExited,
    ProcessFact,
    ProcessIdentity,
    SpawnOrder,
    TreeEnded,
)
from .faults import Faults, operation

FIRST_PID = 1001


@dataclass(frozen=True, slots=True)
class EndOrder:
    """An order to end a process, ``at`` on the monotonic clock."""

    at: float
    signal: int
    grace_seconds: float


@dataclass(slots=True)
class ScriptedProcess:
    """A process of a scripted world: it does what the test, or its script, makes it do."""

    order: SpawnOrder
    identity: ProcessIdentity
    clock: Clock
    ignores_signals: bool = False
    started_at: float = 0.0
    ended_at: float | None = None
    """On the monotonic clock."""
    end_orders: list[EndOrder] = field(default_factory=list)
    signals_after_end: int = 0
    """How many of them came when its whole tree was gone."""
    told_to_cancel: bool = False
    exit: ExitStatus | None = None
    gone: bool = False
    """Whether nothing of its tree is left either."""
    rebooted: bool = False
    exit_is_lost: bool = False
    """Whether the keeper that could have received its exit code is no more."""
    lingers_seconds: float = 0.0
    """How long what it leaves behind outlives it."""
    facts: list[ProcessFact] = field(default_factory=list)
    listener: FactListener | None = None
    on_signal: Callable[[ScriptedProcess, int], None] | None = None
    on_gone: Callable[[], None] | None = None

    @property
    def key(self) -> ClaimKey:
        """The claim it runs for."""
        return self.order.key

    @property
    def signals(self) -> list[int]:
        """What it was sent, but for the SIGKILL at the end of a grace period."""
        return [order.signal for order in self.end_orders]

    def print(self, *lines: str) -> None:
        """Write lines to its output."""
        self._tell(OutputWritten(key=self.key, lines=lines))

    def end(self, code: int, *, reported: str | None = None) -> None:
        """Exit with ``code``; the rest of its tree goes soon after. A dead one stays dead.

        ``reported``: the state that its engine's receipt names.
        """
        if self.exit is None:
            known = None if self.exit_is_lost else code
            self.ended_at = self.clock.monotonic()
            self.exit = ExitStatus(code=known, reported=reported)
            self._tell(ProcessExited(key=self.key, status=self.exit))
            if self.lingers_seconds:
                left = ((self.identity.pid + 100_000, "daemon"),)
                self.clock.call_later(self.lingers_seconds, lambda: self._vanish(left))
            else:
                self._vanish()

    def reboot(self) -> None:
        """The machine is started anew: whatever was alive is over, and nobody saw how."""
        if not self.gone:
            self.rebooted = self.exit is None
            if self.exit is None:
                self.ended_at = self.clock.monotonic()
                self.exit = ExitStatus(code=None)
                self._tell(ProcessExited(key=self.key, status=self.exit))
            self._vanish()

    def _vanish(self, leftovers: tuple[tuple[int, str], ...] = ()) -> None:
        if not self.gone:
            self.gone = True
            self._tell(TreeEnded(key=self.key, leftovers=leftovers))
            if self.on_gone is not None:
                self.on_gone()

    def signal(self, number: int, grace_seconds: float) -> None:
        """As the keeper ends a tree: the signal, the grace period, SIGKILL.

        Of several grace periods the one that is over first counts.
        """
        self.end_orders.append(EndOrder(self.clock.monotonic(), number, grace_seconds))
        self.signals_after_end += self.gone
        if self.exit is not None:
            return
        if self.on_signal is not None:
            self.on_signal(self, number)
        elif not self.ignores_signals:
            self.end(-number)
        if self.exit is None:
            self.clock.call_later(grace_seconds, lambda: self.end(-9))

    def _tell(self, fact: ProcessFact) -> None:
        self.facts.append(fact)
        if self.listener is not None:
            self.listener(fact)


Script = Callable[[ScriptedProcess], None]
"""What a process does when it starts: set its behaviour, arrange its end."""


class ScriptedKeeper:
    """The world of processes; several launchers may come and go while it stays.

    ``script`` is called with every new process, ``refuse`` may name a cause for not starting one,
    ``trouble`` one for not starting it now, such as a full disk. ``reuses_pids``: a new process
    gets the lowest pid that is free, as after a wrap-around.
    """

    def __init__(
        self,
        clock: Clock,
        script: Script | None = None,
        *,
        refuse: Callable[[SpawnOrder], str | None] | None = None,
        trouble: Callable[[SpawnOrder], str | None] | None = None,
        reuses_pids: bool = False,
    ) -> None:
        self.clock = clock
        self.script = script
        self.refuse = refuse
        self.trouble = trouble
        self.reuses_pids = reuses_pids
        self.processes: dict[ClaimKey, ScriptedProcess] = {}
        self.spawned: list[ClaimKey] = []

    def start(self, order: SpawnOrder) -> ScriptedProcess:
        """At most one process per key."""
        process = self.processes.get(order.key)
        if process is not None:
            return process
        trouble = self.trouble(order) if self.trouble is not None else None
        if trouble is not None:
            raise KeeperError(trouble)
        cause = self.refuse(order) if self.refuse is not None else None
        if cause is not None:
            raise CouldNotStart(cause)
        number = FIRST_PID + len(self.spawned)
        identity = ProcessIdentity(
            pid=self._free_pid() if self.reuses_pids else number,
            start_ticks=number,
            boot_id="scripted",
            pid_namespace="1",
        )
        process = ScriptedProcess(
            order=order, identity=identity, clock=self.clock, started_at=self.clock.monotonic()
        )
        self.processes[order.key] = process
        self.spawned.append(order.key)
        if self.script is not None:
            self.script(process)
        return process

    def alive(self) -> list[ScriptedProcess]:
        """The processes that have not ended."""
        return [process for process in self.processes.values() if process.exit is None]

    def succeed(self) -> None:
        """The keeper dies and another takes over: of what lives now no exit will be known."""
        for process in self.alive():
            process.exit_is_lost = True

    def reboot(self) -> None:
        """The machine is started anew. The worker was ended before."""
        for process in list(self.processes.values()):
            process.reboot()

    def drop(self, key: ClaimKey) -> None:
        """Remove a run from the table."""
        self.processes.pop(key, None)

    def _free_pid(self) -> int:
        taken = {process.identity.pid for process in self.processes.values() if not process.gone}
        return next(pid for pid in count(FIRST_PID) if pid not in taken)

    def disconnect(self) -> None:
        """The worker is gone: nobody hears facts until somebody watches again."""
        for process in self.processes.values():
            process.listener = None


class ScriptedLauncher:
    """The Launcher port over a :class:`ScriptedKeeper`. ``faults`` as for InMemoryOrchestrator."""

    def __init__(self, keeper: ScriptedKeeper, faults: Faults | None = None) -> None:
        self._keeper = keeper
        self.faults = faults

    @operation
    def spawn(self, order: SpawnOrder, listener: FactListener) -> ProcessIdentity:
        process = self._keeper.start(order)
        _attach(process, listener)
        return process.identity

    @operation
    def watch(self, key: ClaimKey, listener: FactListener) -> KeptRun | None:
        process = self._keeper.processes.get(key)
        if process is None:
            return None
        _attach(process, listener)
        return _kept(process)

    @operation
    def end_tree(
        self, key: ClaimKey, *, signal: int, grace_seconds: float, announce_cancel: bool = False
    ) -> None:
        """Of a run that the keeper does not have there is nothing to end."""
        process = self._keeper.processes.get(key)
        if process is not None:
            process.told_to_cancel = process.told_to_cancel or announce_cancel
            process.signal(signal, grace_seconds)

    @operation
    def forget(self, key: ClaimKey) -> None:
        """What is not gone yet is dropped when it is."""
        process = self._keeper.processes.get(key)
        if process is not None:
            process.listener = None
            process.on_gone = lambda: self._keeper.drop(key)
            if process.gone:
                process.on_gone()

    @operation
    def table(self) -> list[KeptRun]:
        return [_kept(process) for process in self._keeper.processes.values()]


def _attach(process: ScriptedProcess, listener: FactListener) -> None:
    for fact in process.facts:
        listener(fact)
    process.listener = listener


def _kept(process: ScriptedProcess) -> KeptRun:
    return KeptRun(
        key=process.key,
        identity=process.identity,
        exit=process.exit,
        tree_ended=process.gone,
        rebooted=process.rebooted,
    )
