"""A folder full of modules that must not be imported, such as anybody may leave in /tmp."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path

LIBRARIES = "click dotenv psutil pydantic pydantic_settings pykka requests structlog uvicorn"

TEMPTING = (
    *("csv", "json", "email", "asyncio", "typing", "__future__", "sitecustomize", "usercustomize"),
    *LIBRARIES.split(),
)
"""Modules that the worker, an interpreter that starts, or importlib.metadata imports."""

EVERYTHING = sorted({*sys.stdlib_module_names, *TEMPTING} - {"__main__"})

_NOTE = """import posix
notes = posix.open({notes!r}, posix.O_WRONLY | posix.O_CREAT | posix.O_APPEND, 0o600)
posix.write(notes, __name__.encode() + b"\\n")
posix.close(notes)
"""


class Trap:
    """The folder ``path``, with a module of each of these names and a package ``prefect``."""

    def __init__(self, path: Path, names: Iterable[str] = TEMPTING) -> None:
        self.path = path
        self._notes = path.with_name(f"{path.name}-notes")
        package = path / "prefect"
        package.mkdir(parents=True)
        note = _NOTE.format(notes=str(self._notes))
        for file in (package / "__init__.py", *(path / f"{name}.py" for name in names)):
            file.write_text(note)
        information = path / "prefect-3.99.0.dist-info"
        information.mkdir()
        (information / "METADATA").write_text("Name: prefect\nVersion: 3.99.0\n")

    @property
    def sprung(self) -> list[str]:
        """What was imported."""
        return self._notes.read_text().splitlines() if self._notes.exists() else []
