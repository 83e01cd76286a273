"""The runs that the keeper holds: watches, ends and records them, and tells the worker."""

from __future__ import annotations

import os
import signal
import socket
import sys
from collections.abc import Callable

from . import files, procfs
from .constants import EXIT_FILE, FORGOTTEN_FILE
from .control import ControlChannel
from .ending import Endings
from .helpers import Flusher, Helpers
from .loop import READ, Loop, Timer
from .process_scan import send
from .protocol import Frame
from .run_resources import TempDir, remove_temp_dir
from .table import Run, still_there

LEFTOVER_GRACE = 2.0
"""Seconds between SIGTERM and SIGKILL for processes that outlive their run."""
SAVE_AGAIN = 5.0
"""Seconds until an exit status is written again to a full or read-only disk."""
LOOK_AGAIN = 1.0
"""Seconds between looks at a process that is no child of ours."""
TELL_OUTPUT = 0.02
"""Seconds in which news of output are collected."""


class Runs:
    """Owns: table (key -> run), _by_pid (our own children), _news (keys with untold output)."""

    def __init__(
        self,
        loop: Loop,
        tell: Callable[[Frame, int | None], None],
        listens: Callable[[], bool],
    ) -> None:
        self._loop = loop
        self._tell = tell
        self._listens = listens
        self.table: dict[str, Run] = {}
        self._by_pid: dict[int, Run] = {}
        self._endings = Endings(loop, self._tree_gone)
        self._helpers = Helpers()
        self._flusher = Flusher(loop, self._helpers)
        self._news: set[str] = set()
        self._news_timer: Timer | None = None
        self.on_change: Callable[[], None] = lambda: None
        """Called when a run is over completely."""

    @property
    def busy(self) -> bool:
        """Whether any run lives or is being ended."""
        return any(not run.swept or run.ending is not None for run in self.table.values())

    def close(self) -> None:
        """Waits until the disk has everything."""
        self._flusher.finish()

    def add(self, run: Run) -> None:
        if run.ours:
            for former in self.table.values():
                former.pid_given_away = former.pid_given_away or former.pid == run.pid
            self._by_pid[run.pid] = run
        self.table[run.key] = run
        self._listen(run)
        self._watch_pipe(run)

    def keep(self, run: Run) -> None:
        """Sends the worker duplicates of the descriptors that must outlive the keeper."""
        if run.output.pipe is not None:
            self._tell({"fact": "keep", "key": run.key, "what": "pipe"}, run.output.pipe)
        self.keep_control(run)

    def keep_control(self, run: Run) -> None:
        """Sends the descriptor of the control channel as it is now."""
        if run.control is not None and (found := run.control.descriptor()) is not None:
            what, descriptor = found
            frame = {"fact": "keep", "key": run.key, "what": what, "token": run.control.token}
            self._tell(frame, descriptor)

    def adopt(self, run: Run, frame: Frame, descriptor: int) -> None:
        """Takes back a descriptor that the worker held while there was no keeper."""
        if frame["what"] == "pipe":
            self._adopt_pipe(run, frame["position"], descriptor)
        elif run.control is None and run.exit is None:
            connection = socket.fromfd(descriptor, socket.AF_INET, socket.SOCK_STREAM)
            run.control = ControlChannel.adopt(
                self._loop, frame["token"], connection, listening=frame["what"] == "listener"
            )
            run.control.pid = run.pid
            self._listen(run)

    def _listen(self, run: Run) -> None:
        """Notes what the engine says on its control channel."""
        if run.control is not None:
            run.control.on_connected = lambda: self.keep_control(run)
            run.control.on_conclusion = lambda said: self._concluded(run, said)

    def _concluded(self, run: Run, said: Frame) -> None:
        if run.conclusion is None:
            run.conclusion = said
            try:
                run.save_conclusion()
            except OSError as error:  # only a next keeper would need it
                print(f"{run.key}: its conclusion is not recorded: {error}", file=sys.stderr)

    def _adopt_pipe(self, run: Run, position: int, descriptor: int) -> None:
        if run.output.pipe is None:
            run.output.take_over(os.dup(descriptor), position)
            self._watch_pipe(run)
            self._pump(run)
        if run.exit is not None and run.exit["code"] is None:
            run.exit_position = run.output.position
        if run.swept:
            self._close_pipe(run)

    def end_tree(self, run: Run, number: int, grace: float, *, announce: bool) -> None:
        """Ends all processes of ``run``, also those that may outlive it.

        SIGKILL follows ``grace`` seconds from now, however long the announcement takes. An engine
        that has sent its receipt is not cancelled any more, and may use that time to end.
        """
        if run.swept and run.ends_leftovers:
            return
        deadline = self._loop.now() + grace
        if announce and run.has_receipt:
            self._order_end(run, 0, deadline)
        elif announce and run.exit is None and run.control is not None:
            self._wake(run)

            def announced() -> None:
                self._order_end(run, 0 if run.has_receipt else number, deadline)

            run.control.announce_cancel(grace, announced)
        else:
            self._order_end(run, number, deadline)

    def _wake(self, run: Run) -> None:
        """A stopped process could not read the announcement."""
        found = procfs.stat(run.pid)
        if found is not None and found.start == run.start and found.stopped:
            send(found, signal.SIGCONT)

    def forget(self, run: Run) -> None:
        """Drops ``run`` from the table once none of its processes is left."""
        run.forgotten = True
        if run.swept:
            self._drop(run)

    def reap(self, unknown: Callable[[int, int], None]) -> None:
        """Waits for every child that ended; ``unknown`` is told of those that are no run's."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                break
            if pid == 0:
                break
            code = os.waitstatus_to_exitcode(status)
            if pid in self._by_pid:
                self.exited(self._by_pid[pid], code)
            elif not self._helpers.reaped(pid):
                unknown(pid, code)
        self._endings.hurry()

    def exited(self, run: Run, code: int | None) -> None:
        """The run's own process has ended, with ``code`` as subprocess has it; None: unknown.

        Its output is read before this is told.
        """
        if run.exit is not None:
            return
        self._by_pid.pop(run.pid, None)
        self._pump(run)
        if run.control is not None:
            run.control.close()
            run.control = None
        run.exit = {"code": code}
        run.exit_position = run.output.position
        self.record(run)
        self._tell({"fact": "exited", "run": run.row()}, None)
        self.go_on(run)

    def look(self, run: Run) -> None:
        """Looks now and then whether the process of a former keeper's run is still there."""
        if run.exit is not None:
            return
        if still_there(run.note):
            self._loop.call_later(LOOK_AGAIN, lambda: self.look(run))
        else:
            self.exited(run, None)

    def go_on(self, run: Run) -> None:
        """After the exit: ends what is left of the run."""
        if run.ends_leftovers or run.ending is not None:
            self._endings.sweep(run, LEFTOVER_GRACE)
        else:
            self._tree_gone(run)

    def _order_end(self, run: Run, number: int, deadline: float) -> None:
        if not (run.swept and run.ends_leftovers):
            self._endings.order(run, number, deadline)

    def _tree_gone(self, run: Run) -> None:
        self._pump(run)
        if run.ends_leftovers:
            self._close_pipe(run)
        directory = TempDir.noted(run.note)
        if directory is None:
            self._over(run)
        else:
            remove_temp_dir(directory, self._helpers, lambda: self._over(run))

    def _over(self, run: Run) -> None:
        if run.cgroup is not None:
            run.cgroup.remove()
        run.swept = True
        self.record(run)
        self._tell({"fact": "gone", "run": run.row()}, None)
        if run.forgotten:
            self._drop(run)
        self.on_change()

    def _drop(self, run: Run) -> None:
        self._close_pipe(run)
        self.table.pop(run.key, None)
        path = os.path.join(run.folder, FORGOTTEN_FILE)
        try:
            os.close(files.open_own(path, os.O_WRONLY | os.O_CREAT))
        except OSError as error:  # it comes back with the next keeper, and is over then as now
            print(f"{run.key}: cannot be marked as forgotten: {error}", file=sys.stderr)

    def record(self, run: Run) -> None:
        """Records how ``run`` ended, now or as soon as the disk takes it."""
        try:
            run.save_exit()
        except FileNotFoundError:
            print(f"{run.key}: its folder is gone", file=sys.stderr)
        except OSError as error:
            if not run.is_unrecorded:
                print(f"{run.key}: its exit cannot be recorded yet: {error}", file=sys.stderr)
            run.is_unrecorded = True
            self._loop.call_later(SAVE_AGAIN, lambda: self.record(run))
            return
        self._flusher.later(os.path.join(run.folder, EXIT_FILE), run.folder)
        if run.is_unrecorded:
            print(f"{run.key}: its exit is recorded now", file=sys.stderr)
        run.is_unrecorded = False

    def _watch_pipe(self, run: Run) -> None:
        if run.output.pipe is not None:
            self._loop.watch(run.output.pipe, READ, lambda _: self._pump(run))

    def _close_pipe(self, run: Run) -> None:
        if run.output.pipe is not None:
            self._loop.unwatch(run.output.pipe)
            run.output.close_pipe()

    def _pump(self, run: Run) -> None:
        before = run.output.position
        if not run.output.pump():
            self._close_pipe(run)
        if run.output.position > before:
            self._news.add(run.key)
            if self._news_timer is None:
                self._news_timer = self._loop.call_later(TELL_OUTPUT, self._tell_news)

    def _tell_news(self) -> None:
        self._news_timer = None
        if not self._listens():  # it may be stopped: what it has not read must not pile up
            self._news_timer = self._loop.call_later(TELL_OUTPUT, self._tell_news)
            return
        news, self._news = self._news, set()
        positions = {key: self.table[key].output.position for key in news if key in self.table}
        if positions:
            self._tell({"fact": "output", "positions": positions}, None)
