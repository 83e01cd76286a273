"""One pipe for every log line: ours, pykka's, urllib3's, asyncio's and Python's warnings.

On a terminal lines are pretty, elsewhere they are JSON, one object a line:
``{"timestamp": ..., "level": ..., "event": "run.exited", "worker": ..., "flow_run_id": ...}``.
The caller, or ``structlog.contextvars`` around it, binds what is known of a run (flow_run_id,
flow_run_name, job_name, pid); worker and pool are added here. Fields that are None are left out.
Secrets are masked in every text before it is written.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable, Mapping
from typing import Any, Literal, TextIO

import structlog
from structlog.typing import EventDict, FilteringBoundLogger, Processor, WrappedLogger

from .line_writer import FLUSH_SECONDS, LineWriter

LogFormat = Literal["console", "json"]
Mask = Callable[[str], str]


class LogPipe:
    """The pipe, installed in this process. ``mask`` and ``context`` may be replaced meanwhile.

    ``format`` None: pretty when ``stream`` (default: stderr) is a terminal, else JSON. ``level``
    is a name of Python's logging. Pretty lines are coloured unless NO_COLOR is set
    (https://no-color.org). ``context`` returns the fields to add to each line: the worker's name,
    its pool.
    """

    def __init__(
        self,
        *,
        format: LogFormat | None = None,
        level: str = "INFO",
        stream: TextIO | None = None,
        mask: Mask = lambda text: text,
    ) -> None:
        stream = sys.stderr if stream is None else stream
        self.format = format or ("console" if stream.isatty() else "json")
        self.mask = mask
        self.context: Callable[[], Mapping[str, object]] = dict
        self._writer = LineWriter(stream, on_lost=_say_lost)
        self._people = LineWriter(sys.stdout)
        number = logging.getLevelNamesMapping()[level]
        shared: list[Processor] = [
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.StackInfoRenderer(),
            structlog.processors.format_exc_info,
            self._complete,
        ]
        renderer: Processor = (
            structlog.processors.JSONRenderer()
            if self.format == "json"
            else structlog.dev.ConsoleRenderer(
                colors=stream.isatty() and "NO_COLOR" not in os.environ,
                exception_formatter=structlog.dev.plain_traceback,
            )
        )
        structlog.configure(
            processors=[*shared, renderer],
            wrapper_class=structlog.make_filtering_bound_logger(number),
            logger_factory=lambda *_: self._writer,
            cache_logger_on_first_use=False,
        )
        self._handler = _Foreign(self._writer)
        stdlib = structlog.stdlib
        self._handler.setFormatter(
            stdlib.ProcessorFormatter(
                foreign_pre_chain=[stdlib.ExtraAdder(), stdlib.add_logger_name, *shared],
                processors=[stdlib.ProcessorFormatter.remove_processors_meta, renderer],
            )
        )
        root = logging.getLogger()
        self._previous_level = root.level
        root.addHandler(self._handler)
        root.setLevel(number)
        logging.captureWarnings(True)

    @property
    def dropped(self) -> int:
        return self._writer.dropped

    def print(self, words: str) -> None:
        """Write a line for people, to stdout."""
        self._people.line(words)

    def flush(self, seconds: float = FLUSH_SECONDS) -> None:
        """Wait at most ``seconds`` until every line is written or lost."""
        for writer in (self._people, self._writer):
            writer.flush(seconds)

    def close(self) -> None:
        """Restore logging as it was before. Lines that nobody reads are given up after a while."""
        root = logging.getLogger()
        root.removeHandler(self._handler)
        root.setLevel(self._previous_level)
        logging.captureWarnings(False)
        structlog.reset_defaults()
        for writer in (self._people, self._writer):
            writer.close()

    def _complete(self, _: WrappedLogger, __: str, event: EventDict) -> EventDict:
        """Adds the context, masks secrets, leaves out what is None, and puts the time first."""
        first = {key: event.pop(key) for key in ("timestamp", "level", "event")}
        return {
            key: value if key.startswith("_") else _masked(value, self.mask)
            for key, value in {**first, **self.context(), **event}.items()
            if value is not None
        }


def asked_for(name: str) -> FilteringBoundLogger:
    """A logger for lines that a person has requested: the level does not stop them."""
    logger: FilteringBoundLogger = structlog.wrap_logger(
        None,
        wrapper_class=structlog.make_filtering_bound_logger(logging.NOTSET),
        logger_factory_args=(name,),
    )
    return logger


def _say_lost(lines: int) -> None:
    structlog.get_logger(__name__).warning(
        "log.lines_lost", lines=lines, hint="The reader of the log did not read for a while."
    )


class _Foreign(logging.Handler):
    """Takes the lines of libraries that use Python's logging."""

    def __init__(self, writer: LineWriter) -> None:
        super().__init__()
        self._writer = writer

    def emit(self, record: logging.LogRecord) -> None:
        try:
            self._writer.line(self.format(record))
        except Exception as error:
            # the code that logs must not fail because its line cannot be formatted
            self._writer.line(f"a log line of {record.name} could not be formatted: {error!r}")


def _masked(value: Any, mask: Mask) -> Any:
    """A copy of ``value`` that JSON can carry, with every text in it masked."""
    if isinstance(value, str):
        return mask(value)
    if value is None or isinstance(value, int | float):
        return value
    if isinstance(value, Mapping):
        return {mask(str(key)): _masked(item, mask) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_masked(item, mask) for item in value]
    return mask(str(value))
