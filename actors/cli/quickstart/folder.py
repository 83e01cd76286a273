"""The one folder that holds everything quickstart makes."""

from __future__ import annotations

import fcntl
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib.resources import files
from pathlib import Path
from typing import Final

from platformdirs import user_data_path

from ...domain.errors import StateFolderError

FLOWS: Final = "sample_flows.py"


def default_folder() -> Path:
    """Without ``--dir``: in the user's data folder."""
    return user_data_path("actor-worker") / "quickstart"


class QuickstartFolder:
    """The folder ``path``; :meth:`prepare` creates it."""

    def __init__(self, path: Path) -> None:
        self.path = path.expanduser().absolute()
        self.prefect_home = self.path / "prefect"
        self.flows = self.path / "flows"
        self.temporary = self.path / "tmp"
        self.authorization_file = self.path / "authorization"
        # only a folder with this file is ever removed
        self._mark = self.path / "made-by-actor-worker-quickstart"

    @property
    def command(self) -> str:
        """The command line that means this folder."""
        command = "actor-worker quickstart"
        return command if self.path == default_folder() else f"{command} --dir {self.path}"

    @property
    def authorization(self) -> str:
        """``user:password`` for the server's API; it stays, so that browsers may keep it."""
        return self.authorization_file.read_text("ascii").strip()

    def prepare(self) -> None:
        """Create the folder, for this user alone; flows that a person has changed are kept.

        StateFolderError: it cannot be created, or it holds something that is not ours.
        """
        self._refuse_what_is_not_ours()
        try:
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            self.path.chmod(0o700)
            self._mark.touch()
            for folder in (self.prefect_home, self.flows, self.temporary):
                folder.mkdir(mode=0o700, exist_ok=True)
            if not (flows := self.flows / FLOWS).exists():
                flows.write_text(files(__package__).joinpath(FLOWS).read_text("utf-8"), "utf-8")
            if not self.authorization_file.exists():
                # written whole or not at all, because it stays
                new = self.authorization_file.with_suffix(".new")
                new.write_text(f"quickstart:{secrets.token_urlsafe(24)}\n", "ascii")
                new.replace(self.authorization_file)
            self.authorization_file.chmod(0o600)
        except OSError as error:
            raise StateFolderError(
                f"The quickstart folder {self.path} cannot be used: {error.strerror}."
                " Choose another one with --dir."
            ) from error

    @contextmanager
    def held(self) -> Iterator[None]:
        """Keep other quickstarts out. StateFolderError: one is running in it."""
        with self._mark.open("r+") as mark:
            try:
                fcntl.flock(mark, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise StateFolderError(
                    f"A quickstart is running in {self.path} (pid {mark.read().strip() or '?'}):"
                    " stop it with Ctrl-C first, or choose another folder with --dir."
                ) from None
            mark.truncate(0)
            mark.write(str(os.getpid()))
            mark.flush()
            yield

    def exists(self) -> bool:
        """Whether a quickstart has made it. StateFolderError: it holds something else."""
        self._refuse_what_is_not_ours()
        return self._mark.exists()

    def remove(self) -> None:
        """Remove the folder, and the parent that we created if it is empty."""
        try:
            shutil.rmtree(self.path)
        except OSError as error:
            raise StateFolderError(
                f"The quickstart folder {self.path} could not be removed altogether:"
                f" {error.strerror} ({error.filename})."
            ) from error
        if self.path == default_folder():
            with suppress(OSError):
                self.path.parent.rmdir()

    def _refuse_what_is_not_ours(self) -> None:
        if not self.path.exists():
            return
        if self.path.stat().st_uid != os.geteuid():
            raise StateFolderError(
                f"The folder {self.path} belongs to another user: choose another with --dir."
            )
        if not self.path.is_dir():
            raise StateFolderError(f"{self.path} is not a folder: choose another with --dir.")
        if not self._mark.exists() and any(self.path.iterdir()):
            raise StateFolderError(
                f"The folder {self.path} was not made by quickstart and is not empty: it is"
                " left alone. Choose another one with --dir."
            )
