"""Which interpreter runs ``python -m prefect.engine``.

Prefect may be installed beside the worker or elsewhere. The search must not delay the start, so it
has two steps. :func:`find` chooses the interpreter by files alone, in a few milliseconds.
:func:`check` runs that interpreter once to ask for its Prefect while the system starts; a run that
is due waits for the answer.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib.metadata
import os
import shutil
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
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

_QUESTION: Final = (
    "import importlib.metadata as m\n"
    "try: print(m.version('prefect'))\n"
    "except m.PackageNotFoundError: print('none')"
)
_SAFE_PATH: Final = {"PYTHONSAFEPATH": "1"}
"""Python 3.11 and newer then import nothing from the working directory, ``/`` or any other."""

_ON_PATH: Final = ("python3", "python")


@dataclass(frozen=True, slots=True)
class PrefectPython:
    """An interpreter, and the version of the Prefect in it."""

    executable: Path
    version: str


def find(
    given: str | None,
    *,
    path: str | None = None,
    own: str = sys.executable,
    own_has_prefect: bool | None = None,
) -> Path:
    """The interpreter to use, by looking at files only.

    ``given`` is what ``--python`` says: a path, or a name to be found on ``path`` (default: this
    process's PATH). Without it: ``own`` if Prefect is installed in it, then the interpreter of
    the ``prefect`` command on PATH, then ``python3`` and ``python`` on PATH if they have Prefect.
    A shim whose files tell nothing (pyenv) is taken when no other has it: :func:`check` decides.

    SettingsError: there is none, or ``given`` is not an executable file.
    """
    if given is not None:
        return _given(given, path)
    if has_prefect_here() if own_has_prefect is None else own_has_prefect:
        return Path(own)
    unclear: list[Path] = []
    for candidate in _candidates(path):
        if versions := _versions(candidate):
            return candidate
        if versions is None:
            unclear.append(candidate)
    if unclear:
        return unclear[0]
    raise SettingsError(f"No Python with Prefect was found beside the worker or on PATH. {REMEDY}")


async def check(python: Path, *, env: Mapping[str, str] | None = None) -> PrefectPython:
    """Ask ``python`` which Prefect it has; ``env`` is its environment (default: ours).

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
            with contextlib.suppress(ProcessLookupError):
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
    return PrefectPython(python, version)


def _without_secrets(env: Mapping[str, str]) -> dict[str, str]:
    """Without Prefect's settings, too: their headers and addresses may contain secrets."""
    return {
        name: value
        for name, value in env.items()
        if not name.startswith("PREFECT_") and not secrets_in_environment({name: value})
    }


def has_prefect_here() -> bool:
    """Whether Prefect is installed in our own interpreter; it is not imported."""
    try:
        importlib.metadata.distribution("prefect")
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


def _given(given: str, path: str | None) -> Path:
    if os.sep in given:
        found = Path(given).expanduser().absolute()
        if not found.exists():
            raise SettingsError(f"--python names {given}, and there is no such file.")
        if found.is_dir() or not os.access(found, os.X_OK):
            raise SettingsError(f"--python names {given}, and that is not an executable file.")
        return found
    if (on_path := shutil.which(given, path=path)) is None:
        raise SettingsError(f"--python names {given!r}, and PATH has no such command.")
    return Path(on_path).absolute()


def _candidates(path: str | None) -> Iterator[Path]:
    if (command := shutil.which("prefect", path=path)) is not None:
        # the command's real place is the bin folder of the environment that Prefect is in
        beside = Path(command).resolve().parent / "python"
        if beside.exists():
            yield beside
    for name in _ON_PATH:
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
    libraries = [
        folder
        for pattern in ("lib/python3*/site-packages", "lib/python3*/dist-packages")
        for folder in prefix.glob(pattern)
    ]
    if not libraries:
        return None
    return [
        found.name.removeprefix("prefect-").removesuffix(".dist-info")
        for folder in libraries
        for found in folder.glob("prefect-3.*.dist-info")
    ]
