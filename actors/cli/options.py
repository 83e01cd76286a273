"""The options of ``actor-worker start``, in the sections in which its help shows them.

Not one has a default here: what is not given is left to the other sources of settings. The help
names the defaults of :class:`actors.settings.settings.Settings`, which a test compares.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

TAKING = "What to run"
RUNNING = "How to run it"
STOPPING = "Stopping and state"
SHOWING = "Seeing what happens"


class SectionOption(click.Option):
    """An option that knows its section of the help."""

    def __init__(self, *args: Any, section: str, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.section = section


class SectionedCommand(click.Command):
    """A command whose help has its options in sections."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the options, section by section, in the order of their declaration."""
        sections: dict[str, list[tuple[str, str]]] = {}
        for parameter in self.get_params(ctx):
            if (record := parameter.get_help_record(ctx)) is not None:
                section = getattr(parameter, "section", "Other")
                sections.setdefault(section, []).append(record)
        for section, records in sections.items():
            with formatter.section(section):
                formatter.write_dl(records)


def _option(section: str, *names: str, help: str, **more: Any) -> Callable[[Any], Any]:
    return click.option(
        *names, cls=SectionOption, section=section, help=help, default=None, **more
    )


def _switch(section: str, *names: str, help: str) -> Callable[[Any], Any]:
    return _option(section, *names, help=help, is_flag=True)


START_OPTIONS = (
    _option(TAKING, "-p", "--pool", metavar="NAME", help="The work pool to take runs from."),
    _option(
        TAKING,
        "-q",
        "--work-queue",
        "work_queues",
        metavar="NAME",
        multiple=True,
        help="Take runs of this queue only; may be repeated.  [default: all queues]",
    ),
    _option(
        TAKING,
        "-l",
        "--limit",
        type=int,
        metavar="N",
        help="Runs at a time.  [default: no limit]",
    ),
    _option(
        TAKING,
        "--memory-pause-percent",
        type=float,
        metavar="P",
        help="Take no runs while the machine uses this much of its memory.  [default: 95]",
    ),
    _option(
        TAKING,
        "--prefetch-seconds",
        type=float,
        metavar="S",
        help="Take a run this long before its time.  [default: 10, or"
        " PREFECT_WORKER_PREFETCH_SECONDS]",
    ),
    _option(
        TAKING,
        "--query-seconds",
        type=float,
        metavar="S",
        help="Ask for due runs this often.  [default: 10, or PREFECT_WORKER_QUERY_SECONDS]",
    ),
    _switch(
        TAKING,
        "--run-once/--no-run-once",
        help="Poll once, wait for those runs, and stop.  [default: no-run-once]",
    ),
    _switch(
        TAKING,
        "--create-pool-if-not-found/--no-create-pool-if-not-found",
        help="Create the work pool when the server has none of this name."
        "  [default: create-pool-if-not-found]",
    ),
    _option(
        TAKING,
        "--base-job-template",
        metavar="FILE",
        help="A JSON file with the base job template for a pool that is created.",
    ),
    _option(
        RUNNING,
        "--python",
        metavar="PATH",
        help="The Python that has Prefect and runs the flows.  [default: found beside the"
        " worker or on PATH]",
    ),
    _option(
        RUNNING,
        "-n",
        "--name",
        metavar="NAME",
        help="The worker's name.  [default: the host's, numbered when it is taken]",
    ),
    _option(
        RUNNING,
        "-t",
        "--type",
        metavar="TYPE",
        help="The worker's type; 'process' is the only one.",
    ),
    _option(
        RUNNING,
        "--heartbeat-seconds",
        type=float,
        metavar="S",
        help="Tell the server this often that the worker is alive."
        "  [default: 30, or PREFECT_WORKER_HEARTBEAT_SECONDS]",
    ),
    _switch(
        RUNNING,
        "--end-leftovers/--no-end-leftovers",
        help="End processes that a run leaves behind when it is over.  [default: end-leftovers]",
    ),
    _option(
        RUNNING,
        "--install-policy",
        type=click.Choice(["always", "if-not-present", "never", "prompt"]),
        help="Taken for the sake of scripts and without effect: this worker needs nothing"
        " installed for its type.",
    ),
    _option(
        STOPPING,
        "--drain-seconds",
        type=float,
        metavar="S",
        help="When asked to stop, wait this long for the runs.  [default: as long as they take]",
    ),
    _option(
        STOPPING,
        "--on-deadline",
        type=click.Choice(["terminate", "leave"]),
        help="What becomes of runs that are there after that: ended and reported as crashed, or"
        " left to the next worker.  [default: terminate]",
    ),
    _option(
        STOPPING,
        "--state-dir",
        metavar="FOLDER",
        help="Where runs are recorded.  [default: follows from server, pool and host]",
    ),
    _option(
        STOPPING,
        "--keep-runs",
        type=int,
        metavar="N",
        help="Keep the records of this many runs that are over.  [default: 1000]",
    ),
    _option(
        STOPPING,
        "--keep-runs-days",
        type=float,
        metavar="D",
        help="Keep them for this many days.  [default: 7]",
    ),
    _option(
        SHOWING,
        "--log-format",
        type=click.Choice(["console", "json"]),
        help="[default: console on a terminal, else json]",
    ),
    _option(
        SHOWING,
        "--log-level",
        metavar="LEVEL",
        help="DEBUG, INFO, WARNING, ERROR or CRITICAL.  [default: INFO, or PREFECT_LOGGING_LEVEL]",
    ),
    _switch(
        SHOWING,
        "--with-healthcheck/--no-with-healthcheck",
        help="Serve /health and /ready.  [default: no-with-healthcheck]",
    ),
    _option(
        SHOWING,
        "--health-host",
        metavar="ADDRESS",
        help="Where to serve them.  [default: 0.0.0.0, or PREFECT_WORKER_WEBSERVER_HOST]",
    ),
    _option(
        SHOWING,
        "--health-port",
        type=int,
        metavar="PORT",
        help="[default: 8080, or PREFECT_WORKER_WEBSERVER_PORT]",
    ),
    _option(
        SHOWING,
        "--config",
        metavar="FILE",
        help="A TOML file of settings, for what is not given here or in the environment.",
    ),
)


def start_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Put the options of ``start`` on a command's function."""
    for option in reversed(START_OPTIONS):
        command = option(command)
    return command
