"""Which interpreter runs ``python -m prefect.engine``.

Prefect may be installed beside the worker or elsewhere. :func:`find` chooses the interpreter by
files alone. :func:`check` asks it for its Prefect, while the rest of the worker starts.
"""

from __future__ import annotations

import asyncio
import importlib.metadata
import os
import shutil
import sys
from collections.abc import Iterator, Mapping
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
    candidates = [(candidate, _has_prefect(candidate)) for candidate in _candidates(path)]
    having = [candidate for candidate, has_prefect in candidates if has_prefect]
    unclear = [candidate for candidate, has_prefect in candidates if has_prefect is None]
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


def _has_prefect(python: Path) -> bool | None:
    """Whether the files around an interpreter show a Prefect 3; None: they tell nothing."""
    prefix = python.parent.parent
    if not (prefix / "pyvenv.cfg").exists():
        # not a virtual environment: the prefix is where the link finally points
        prefix = python.resolve().parent.parent
    # site-packages; Debian's Python has dist-packages
    libraries = list(prefix.glob("lib/python3*/*-packages"))
    if not libraries:
        return None
    return any(any(folder.glob("prefect-3.*.dist-info")) for folder in libraries)
