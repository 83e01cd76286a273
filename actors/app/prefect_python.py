"""Which interpreter runs ``python -m prefect.engine``.

Prefect may be installed beside the worker or elsewhere. The search must not delay the start, so it
has two steps. :func:`find` chooses the interpreter by files alone, in a few milliseconds.
:func:`check` runs that interpreter once to ask for its Prefect while the system starts; a run that
is due waits for the answer.
"""

from __future__ import annotations

import asyncio
import importlib.metadata
import os
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final

from ..domain.errors import SettingsError
from ..domain.masking import secrets_in_environment

CHECK_SECONDS: Final = 30.0
"""How long an interpreter may take to answer; a healthy one needs 0.1 s."""

REMEDY: Final = (
    "Name one that has it with --python, or install it beside the worker: "
    "pip install 'actor-worker[local]'."
)

_QUESTION: Final = """
import importlib.metadata
found = [each.version for each in importlib.metadata.distributions(name='prefect')]
print(found[0] if found else 'none')
"""
_SAFE_PATH: Final = {"PYTHONSAFEPATH": "1"}
"""Python 3.11 and newer then import nothing from the working directory, ``/`` or any other."""


class EnginePython:
    """The interpreter that has Prefect: found at once, checked while the worker starts.

    Owns: _check. Only runs wait for it.
    """

    def __init__(self, python: Path) -> None:
        self.version = version_by_files(python) or "3"
        """Of its Prefect; "3" where its files do not tell more."""
        self._python = python
        self._check = asyncio.create_task(check(python), name="check of Prefect's Python")

    async def __call__(self) -> str:
        """The interpreter's path. SettingsError: it has no Prefect, or does not work."""
        await asyncio.shield(self._check)
        return str(self._python)

    def on_failure(self, tell: Callable[[Exception], object]) -> None:
        """Call ``tell`` with the error if the check fails, now or later."""

        def checked(check: asyncio.Task[str]) -> None:
            error = None if check.cancelled() else check.exception()
            if isinstance(error, Exception):
                tell(error)

        self._check.add_done_callback(checked)

    async def aclose(self) -> None:
        self._check.cancel()
        await asyncio.wait([self._check])


def find(
    given: str | None, *, path: str | None = None, own_has_prefect: bool | None = None
) -> Path:
    """The interpreter to use, by looking at files only.

    ``given`` is what ``--python`` says: a path, or a name to be found on ``path`` (default: this
    process's PATH). Without it: our own if it has Prefect, then the interpreter of the ``prefect``
    command on PATH, then ``python3`` and ``python`` on PATH if they have Prefect. A shim whose
    files tell nothing (pyenv) is taken when no other has it: :func:`check` decides.

    SettingsError: there is none, or ``given`` is not an executable file.
    """
    if given is not None:
        if (found := shutil.which(os.path.expanduser(given), path=path)) is None:
            raise SettingsError(
                f"--python names {given!r}, and there is no such file, or command on PATH, that"
                " can be executed."
            )
        return Path(found).absolute()
    if own_has_prefect is None:
        own_has_prefect = any(importlib.metadata.distributions(name="prefect"))
    if own_has_prefect:
        return Path(sys.executable)
    candidates = [(candidate, _versions(candidate)) for candidate in _candidates(path)]
    having = [candidate for candidate, versions in candidates if versions]
    unclear = [candidate for candidate, versions in candidates if versions is None]
    if having or unclear:
        return (having or unclear)[0]
    raise SettingsError(f"No Python with Prefect was found beside the worker or on PATH. {REMEDY}")


async def check(python: Path, *, env: Mapping[str, str] | None = None) -> str:
    """The version of the Prefect that ``python`` has; ``env`` is its environment (default: ours).

    It sees what the interpreters of runs will see, PYTHONPATH and the user's site-packages too,
    but no secrets. It does not run in the worker's folder, which may be somebody else's:
    ``python -c`` would import from there.

    SettingsError: it cannot be run, does not answer in time, or has no Prefect 3.
    """
    try:
        process = await asyncio.create_subprocess_exec(
            python,
            "-c",
            _QUESTION,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            cwd="/",
            env=_without_secrets(os.environ if env is None else env) | _SAFE_PATH,
        )
    except OSError as error:
        raise SettingsError(
            f"The interpreter {python} cannot be run: {error.strerror}. {REMEDY}"
        ) from error
    try:
        async with asyncio.timeout(CHECK_SECONDS):
            out, err = await process.communicate()
    except TimeoutError:
        raise SettingsError(
            f"The interpreter {python} did not answer within {CHECK_SECONDS:g} s. {REMEDY}"
        ) from None
    finally:
        if process.returncode is None:
            with suppress(ProcessLookupError):
                process.kill()
            await process.wait()
    version = out.decode(errors="replace").strip()
    if process.returncode != 0:
        last = (err.decode(errors="replace").strip().splitlines() or ["no message"])[-1]
        raise SettingsError(f"The interpreter {python} does not work: {last}. {REMEDY}")
    if version == "none":
        raise SettingsError(f"The interpreter {python} has no Prefect. {REMEDY}")
    if not version.startswith("3."):
        raise SettingsError(
            f"The interpreter {python} has Prefect {version}, and runs need Prefect 3. {REMEDY}"
        )
    return version


def _without_secrets(env: Mapping[str, str]) -> dict[str, str]:
    """Without Prefect's settings, too: their headers and addresses may contain secrets."""
    return {
        name: value
        for name, value in env.items()
        if not name.startswith("PREFECT_") and not secrets_in_environment({name: value})
    }


def _candidates(path: str | None) -> Iterator[Path]:
    if (command := shutil.which("prefect", path=path)) is not None:
        # the command's real place is the bin folder of the environment that Prefect is in
        beside = Path(command).resolve().parent / "python"
        if beside.exists():
            yield beside
    for name in ("python3", "python"):
        if (found := shutil.which(name, path=path)) is not None:
            yield Path(found).absolute()


def version_by_files(python: Path) -> str | None:
    """The version of the Prefect 3 in an interpreter, if the files around it show one."""
    return next(iter(_versions(python) or ()), None)


def _versions(python: Path) -> list[str] | None:
    """The versions of Prefect 3 in the files around an interpreter; None: they tell nothing."""
    prefix = python.parent.parent
    if not (prefix / "pyvenv.cfg").exists():
        # not a virtual environment: the prefix is where the link finally points
        prefix = python.resolve().parent.parent
    # site-packages; Debian's Python has dist-packages
    libraries = list(prefix.glob("lib/python3*/*-packages"))
    if not libraries:
        return None
    return [
        found.name.removeprefix("prefect-").removesuffix(".dist-info")
        for folder in libraries
        for found in folder.glob("prefect-3.*.dist-info")
    ]
