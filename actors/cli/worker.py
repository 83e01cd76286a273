"""One worker as a program: from its settings to its exit code."""

from __future__ import annotations

import asyncio
import faulthandler
import os
import signal
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

import click
import structlog

from ..domain.masking import Masker, masker_of, secrets_in_environment
from ..settings.sources import unknown_variables
from .logs import LogPipe
from .loop_errors import LoopErrors
from .reexec import block_signals, inherited_lock, reexec, unblock_signals
from .systemd import Systemd

if TYPE_CHECKING:
    from ..app.system import ActorSystem
    from ..settings.settings import Settings

log = structlog.get_logger(__name__)

LAST_FLUSH_SECONDS = 0.5
"""How long a worker that is told to end at once waits for a reader of its log."""


def run_worker(settings: Settings) -> None:
    """Run a worker until it has stopped.

    After a SIGHUP it does not return: this process executes the program anew. WorkerError: it
    could not do its job. Abort: it was told to stop before it had started.
    """
    lock = inherited_lock()
    settings.prefect.session_options()  # a missing server address is an error before any log line
    secrets = settings.prefect.secrets() | secrets_in_environment(os.environ)
    pipe = LogPipe(format=settings.log_format, level=settings.log_level, mask=Masker(secrets).text)
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
        raise click.Abort from None
    finally:
        pipe.close()
    if worker.handed_over_lock is not None:
        reexec(worker.handed_over_lock, worker.missed)


class _Worker:
    """One worker in this process, and what signals do to it.

    Owns: _up (whether it takes orders), _stops (stop signals so far), _draining, handed_over_lock
    (for the program that is executed next) and missed (stop signals that came too late for this
    program: the next one gets them).
    """

    def __init__(self, settings: Settings, pipe: LogPipe, lock: int | None) -> None:
        self._settings = settings
        self._pipe = pipe
        self._lock = lock
        self._up = False
        self._stops = 0
        self._draining = False
        self._terminal = _has_terminal()
        self.handed_over_lock: int | None = None
        self.missed: list[int] = []

    async def run(self) -> None:
        """From the start of the actors to their end."""
        # imported here: a wrong setting is answered without it
        from ..app.system import ActorSystem
        from .dump import dump_on_request, dump_to_log

        loop = asyncio.get_running_loop()
        loop.set_exception_handler(LoopErrors())
        system = ActorSystem(
            self._settings,
            notifier=Systemd.from_environment(),
            lock=self._lock,
            announce=lambda what: self._announce(
                f"worker.{what}", f"Worker {system.name!r} {what}!"
            ),
        )
        self._pipe.mask = lambda text: masker_of(system.secrets).text(text)
        self._pipe.context = lambda: {"worker": system.name or None, "pool": self._settings.pool}
        dump_requested = asyncio.Event()
        main = asyncio.current_task()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop, system, main, number)
        for number, act in (
            (signal.SIGHUP, partial(self._hang_up, system)),
            (signal.SIGUSR1, dump_requested.set),
        ):
            if signal.getsignal(number) is not signal.SIG_IGN:  # as nohup(1) has it
                loop.add_signal_handler(number, _log_and, act, number)
        if self._lock is not None:
            unblock_signals()
        async with system:
            self._up = True
            log.info("worker.up", server=self._settings.prefect.api_url)
            dumps = asyncio.create_task(
                dump_on_request(dump_requested, lambda: dump_to_log(system)), name="dumps"
            )
            if self.missed:
                self._drain(system)
            try:
                await system.wait()
            finally:
                dumps.cancel()
        if self.handed_over_lock is not None:
            block_signals()

    def _stop(
        self, system: ActorSystem, main: asyncio.Task[None] | None, number: signal.Signals
    ) -> None:
        """SIGTERM and SIGINT: each further one asks more firmly."""
        self._stops += 1
        steps = (
            ("finish the runs and stop", partial(self._drain, system)),
            ("do not wait for the runs any longer", system.stop_now),
            ("end at once", partial(self._leave, number)),
        )
        then, act = steps[min(self._stops, len(steps)) - 1]
        log.info("worker.signal", signal=number.name, times=self._stops, then=then)
        if self._stops >= len(steps) or (self._up and self.handed_over_lock is None):
            act()
        elif self._lock is not None or self.handed_over_lock is not None:
            self.missed.append(number)  # there may be runs: it drains them once it is up
        elif main is not None:
            main.cancel()

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

    def _announce(self, event: str, words: str) -> None:
        """Print to stdout what Prefect's worker prints; a log line where the log is JSON."""
        if self._pipe.format == "json":
            log.info(event, message=words)
        else:
            self._pipe.print(words)


def _log_and(act: Callable[[], None], number: signal.Signals) -> None:
    log.info("worker.signal", signal=number.name)
    act()


def _has_terminal() -> bool:
    """Whether the process has a controlling terminal (tty(4)); after a hang-up it has none."""
    try:
        os.close(os.open("/dev/tty", os.O_RDONLY | os.O_NOCTTY))
    except OSError:
        return False
    return True
