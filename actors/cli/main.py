"""The command ``actor-worker``.

Only click is imported until it is clear what is wanted, and for the options of ``start`` pydantic,
so that ``--help`` and a mistyped option are answered at once.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import click

FAILURE: Final = 1
USAGE: Final = 2
INTERRUPTED: Final = 130  # 128 and SIGINT, as shells have it
EXIT_CODES: Final = """
Exit codes: 0 stopped as asked, 1 something failed, 2 a wrong option or setting,
130 interrupted before it had started.
"""


class _StartCommand(click.Command):
    """A command that makes its options when they are asked for, and shows them in sections."""

    def get_params(self, ctx: click.Context) -> list[click.Parameter]:
        if not self.params:
            from .options import start_options

            self.params = [*start_options()]
        return super().get_params(ctx)

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        sections: dict[str, list[tuple[str, str]]] = {}
        for parameter in self.get_params(ctx):
            if (record := parameter.get_help_record(ctx)) is not None:
                section = getattr(parameter, "section", "Other")
                sections.setdefault(section, []).append(record)
        for section, records in sections.items():
            with formatter.section(section):
                formatter.write_dl(records)


@click.group(
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog=EXIT_CODES,
)
@click.version_option(package_name="actor-worker", message="%(prog)s %(version)s")
def command() -> None:
    """Runs the flow runs of Prefect work pools as processes."""


@command.command(cls=_StartCommand, epilog=EXIT_CODES)
def start(install_policy: str | None, **given: Any) -> None:
    """Start a worker for a work pool.

    What is not given here is taken from ACTOR_WORKER_* in the environment (ACTOR_WORKER_LIMIT for
    --limit), from the file of --config, and from Prefect's own settings (PREFECT_API_URL and
    others, profiles.toml), in this order.
    """
    from ..settings.settings import CommandLineSettings
    from .worker import run_worker

    values = {name: value for name, value in given.items() if value not in (None, ())}
    run_worker(CommandLineSettings(**values))


@command.command()
@click.option("--once", is_flag=True, help="End when the sample runs are over.")
@click.option("--remove", is_flag=True, help="Remove everything quickstart has made.")
@click.option(
    "--dir",
    "folder",
    metavar="FOLDER",
    help="The folder for everything it makes.  [default: in the user's data folder]",
)
@click.option(
    "--python",
    metavar="PATH",
    help="The Python that has Prefect.  [default: found beside the worker or on PATH]",
)
def quickstart(once: bool, remove: bool, folder: str | None, python: str | None) -> int:
    """See real flow runs: a local Prefect server, a worker and four sample flows.

    Everything is kept in one folder and listens on this machine alone. The server goes on, to be
    looked at, until Ctrl-C.
    """
    from .quickstart.folder import QuickstartFolder, default_folder
    from .quickstart.program import remove as remove_all
    from .quickstart.program import run as run_quickstart

    signal.signal(signal.SIGTERM, signal.default_int_handler)
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # as nohup(1) has it
        signal.signal(signal.SIGHUP, signal.default_int_handler)
    place = QuickstartFolder(Path(folder) if folder else default_folder())
    if remove:
        remove_all(place)
        return 0
    return run_quickstart(place, python=python, once=once)


def run(arguments: Sequence[str], *, platform: str = sys.platform) -> int:
    """Carry out a command line; its exit code. Errors are explained on stderr."""
    from ..domain.errors import SettingsError, WorkerError

    try:
        if platform == "win32":
            raise SettingsError(
                "actor-worker does not run on Windows yet: it has not been tested there. Use"
                " Linux, or WSL, or Prefect's own worker."
            )
        code = command.main(list(arguments), prog_name="actor-worker", standalone_mode=False)
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except (click.Abort, KeyboardInterrupt):
        return INTERRUPTED
    except SettingsError as error:
        return _complain(error, USAGE)
    except WorkerError as error:
        return _complain(error, FAILURE)
    except BrokenPipeError:
        # the reader of the help has gone; the rest of the buffer must not be flushed later
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILURE
    return code if isinstance(code, int) else 0


def _complain(error: Exception, code: int) -> int:
    from .line_writer import LineWriter

    stderr = LineWriter(sys.stderr)  # nobody may be reading that
    stderr.line(f"Error: {error}")
    stderr.close()
    return code


def main() -> None:
    """The entry point."""
    sys.exit(run(sys.argv[1:]))
