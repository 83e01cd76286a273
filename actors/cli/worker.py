"""One worker as a program: from its settings to its exit code."""

from __future__ import annotations

import asyncio
import faulthandler
import os
import signal
from collections.abc import Callable
from contextlib import ExitStack
from typing import TYPE_CHECKING

import structlog

from ..domain.masking import Masker, masker_of, secrets_in_environment
from ..settings.sources import unknown_variables
from . import logs
from .exit_codes import INTERRUPTED
from .loop_errors import LoopErrors
from .reexec import block_signals, inherited_lock, reexec, unblock_signals
from .signals import Step, on_signal, stop_signals
from .systemd import Systemd

if TYPE_CHECKING:
    from ..app.system import ActorSystem
    from ..settings.settings import Settings
    from .dump import Dumper

log = structlog.get_logger(__name__)

LAST_FLUSH_SECONDS = 0.5
"""How long a worker that is told to end at once waits for a reader of its log."""


def run_worker(settings: Settings) -> int:
    """Run a worker until it has stopped; its exit code. WorkerError: it could not do its job.

    After a SIGHUP it does not return: this process executes the program anew.
    """
    lock = inherited_lock()
    settings.prefect.session_options()  # a missing server address is an error before any log line
    secrets = settings.prefect.secrets() | secrets_in_environment(os.environ)
    pipe = logs.configure(
        format=settings.log_format, level=settings.log_level, mask=Masker(secrets).text
    )
    if not faulthandler.is_enabled():
        # systemd's watchdog ends a worker that hangs by SIGABRT; its log then shows where
        faulthandler.enable()
    try:
        for remark in (
            *settings.prefect.warnings,
            *unknown_variables(type(settings).model_fields),
        ):
            log.warning("settings.doubtful", remark=remark)
        worker = _Worker(settings, pipe, lock)
        asyncio.run(worker.run())
    except asyncio.CancelledError:
        return INTERRUPTED
    finally:
        pipe.close()
    if worker.handed_over_lock is not None:
        reexec(worker.handed_over_lock, worker.missed)
    return 0


class _Worker:
    """One worker in this process, and what signals do to it.

    Owns: _up (whether it takes orders), _draining, handed_over_lock (for the program that is
    executed next) and missed (stop signals that came too late for this program: the next one gets
    them).
    """

    def __init__(self, settings: Settings, pipe: logs.LogPipe, lock: int | None) -> None:
        self._settings = settings
        self._pipe = pipe
        self._lock = lock
        self._up = False
        self._draining = False
        self._terminal = _has_terminal()
        self.handed_over_lock: int | None = None
        self.missed: list[int] = []

    async def run(self) -> None:
        """From the start of the actors to their end."""
        # imported here: a wrong setting is answered without it
        from ..app.system import ActorSystem
        from .dump import Dumper, dump_to_log

        errors = LoopErrors()
        asyncio.get_running_loop().set_exception_handler(errors)
        notifier = Systemd.from_environment()
        system = ActorSystem(self._settings, notifier=notifier, lock=self._lock)
        self._pipe.mask = lambda text: masker_of(system.secrets).text(text)
        self._pipe.context = lambda: {"worker": system.name or None, "pool": self._settings.pool}
        dumper = Dumper(lambda: dump_to_log(system))
        with ExitStack() as at_end:
            at_end.callback(errors.log_counts)
            for handling in (
                stop_signals(self._steps(system)),
                on_signal(signal.SIGHUP, lambda: self._hang_up(system)),
                on_signal(signal.SIGUSR1, dumper.request),
            ):
                at_end.enter_context(handling)
            if self._lock is not None:
                unblock_signals()
            await self._work(system, dumper)
            if self.handed_over_lock is not None:
                block_signals()

    async def _work(self, system: ActorSystem, dumper: Dumper) -> None:
        async with system:
            self._up = True
            announce(self._pipe, "worker.started", f"Worker {system.name!r} started!")
            dumper.start()
            if self.missed:
                self._drain(system)
            try:
                await system.wait()
            finally:
                await dumper.finish()
        if self.handed_over_lock is None:
            announce(self._pipe, "worker.stopped", f"Worker {system.name!r} stopped!")

    def _steps(self, system: ActorSystem) -> list[tuple[str, Step]]:
        return [
            ("finish the runs and stop", self._order(lambda: self._drain(system))),
            ("do not wait for the runs any longer", self._order(system.stop_now)),
            ("end at once", self._leave),
        ]

    def _order(self, give: Callable[[], None]) -> Step:
        """``give`` the order to a worker that is up. Before that, the start is cancelled."""
        main = asyncio.current_task()

        def step(number: int) -> None:
            if self._up and self.handed_over_lock is None:
                give()
            elif self._lock is not None or self.handed_over_lock is not None:
                self.missed.append(number)  # there may be runs: it drains them once it is up
            elif main is not None:
                main.cancel()

        return step

    def _leave(self, number: int) -> None:
        """End this process at once, as the signal would; the keeper holds the runs."""
        self._pipe.flush(LAST_FLUSH_SECONDS)
        os._exit(128 + number)

    def _drain(self, system: ActorSystem) -> None:
        self._draining = True
        system.drain()

    def _hang_up(self, system: ActorSystem) -> None:
        """SIGHUP: re-exec; where the terminal has really gone, stop as for SIGTERM."""
        if self._terminal and not _has_terminal():
            log.warning("worker.hung_up", hint="The terminal is gone: finish the runs and stop.")
            if self._up:
                self._drain(system)
        elif not self._up or self._draining or self.handed_over_lock is not None:
            log.warning("worker.not_replaced", hint="It is starting or stopping already.")
        elif self._settings.embedded:
            log.warning("worker.not_replaced", hint="Its runs would end with it: it is embedded.")
        else:
            self.handed_over_lock = system.hand_over()


def _has_terminal() -> bool:
    """Whether the process has a controlling terminal (tty(4)); after a hang-up it has none."""
    try:
        os.close(os.open("/dev/tty", os.O_RDONLY | os.O_NOCTTY))
    except OSError:
        return False
    return True


def announce(pipe: logs.LogPipe, event: str, words: str) -> None:
    """Print to stdout what Prefect's worker prints there; a log line where the log is JSON."""
    if pipe.format == "json":
        log.info(event, message=words)
    else:
        pipe.print(words)
