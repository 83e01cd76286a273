"""Opens a worker's adapters: its server, identity, keeper, journal and interpreter."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from typing import Final

import platformdirs
import psutil

from ..domain.masking import secrets_in_environment
from ..domain.ports import Clock, EventStream, Journal, Launcher, Orchestrator, ServiceManager
from ..journal.journal import FolderJournal
from ..journal.state_folder import StateFolder
from ..prefect_api.client import PrefectApi
from ..prefect_api.http.session import Session
from ..prefect_api.http.threads import ThreadPool
from ..prefect_api.stream import PrefectEventStream
from ..processes.launcher import KeeperLauncher, KeeperOptions
from ..processes.resource_monitor import PsutilResourceMonitor
from ..settings.settings import Settings
from .identity import acquire_identity, identities
from .job_preparer import JobPreparer, uses_runner
from .live_profile import LiveProfile
from .prefect_python import check, find
from .wiring import WorkerPlan, WorkerPorts

FILE_THREADS: Final = 4
"""How many files are read at a time."""

FILE_PATIENCE_SECONDS: Final = 1.0
"""How long the end waits for a disk that does not answer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Adapters:
    """The adapters of one worker."""

    plan: WorkerPlan
    ports: WorkerPorts
    folder: StateFolder
    keeper: KeeperLauncher | None
    """The launcher, unless it was passed in."""
    job_preparer: JobPreparer
    secrets: Callable[[], frozenset[str]]
    """What to mask in any case; a rotated key adds to it."""


async def open_adapters(
    settings: Settings,
    opened: AsyncExitStack,
    *,
    clock: Clock,
    orchestrator: Orchestrator | None = None,
    launcher: Launcher | None = None,
    journal: Journal | None = None,
    notifier: ServiceManager | None = None,
    lock: int | None = None,
) -> Adapters:
    """Open the adapters that are not passed in; ``opened`` closes them, in reverse.

    ``lock`` is the state folder's lock that the program before a re-exec handed over.

    SettingsError: no server, no Prefect. StateFolderError: the folder cannot be used.
    KeeperError: no keeper can be started.
    """
    hostname = socket.gethostname()
    python = find(settings.python)
    checking = asyncio.create_task(check(python), name="check of Prefect's Python")
    opened.push_async_callback(_end, checking)
    files = ThreadPool(FILE_THREADS, name="files")
    opened.push_async_callback(files.aclose, patience_seconds=FILE_PATIENCE_SECONDS)
    profile = LiveProfile(settings.prefect, files)
    candidates = identities(
        api_url=settings.prefect.api_url or "",
        pool=settings.pool,
        host=hostname,
        base=platformdirs.user_state_path("actor-worker"),
        name=settings.name,
        state_dir=settings.state_dir,
    )
    name, folder = acquire_identity([*candidates], lock)
    opened.callback(folder.release)
    session: Session | None = None
    event_stream: EventStream | None = None
    if orchestrator is None:
        options = replace(settings.prefect.session_options(), worker=name)
        session = Session(options, clock=clock, reread=profile.credentials)
        opened.push_async_callback(session.aclose)
        orchestrator = PrefectApi(session)
        event_stream = PrefectEventStream(
            options, credentials=profile.credentials, clock=clock, threads=files
        )
    keeper: KeeperLauncher | None = None
    if launcher is None:
        keeper_options = KeeperOptions(embedded=settings.embedded)
        keeper = KeeperLauncher(folder, keeper_options, run_blocking=files.run)
        launcher = await opened.enter_async_context(keeper)
    if journal is None:
        writer = ThreadPool(1, name="journal")
        opened.push_async_callback(writer.aclose, patience_seconds=FILE_PATIENCE_SECONDS)
        journal = FolderJournal(folder, writer=writer, readers=files)
        opened.push_async_callback(journal.aclose)
    environment = dict(os.environ)
    inherited = secrets_in_environment(environment)

    def secrets() -> frozenset[str]:
        return profile.secrets | inherited

    version = await checking
    job_preparer = JobPreparer(
        orchestrator=orchestrator,
        folder=journal.folder,
        worker=name,
        engine_python=str(python),
        engine_version=version,
        base_env=environment,
        prefect_env=profile.environment,
        secrets=secrets,
        end_leftovers=settings.end_leftovers,
        hooks_seconds=settings.hooks_seconds if settings.hooks else None,
    )
    return Adapters(
        plan=WorkerPlan(
            settings=settings,
            prefect=settings.prefect,
            name=name,
            hostname=hostname,
            version=version,
        ),
        ports=WorkerPorts(
            orchestrator=orchestrator,
            launcher=launcher,
            journal=journal,
            clock=clock,
            prepare_job=job_preparer.prepare_job,
            pid_exists=psutil.pid_exists,
            uses_runner=uses_runner,
            maintenance_until=lambda: None if session is None else session.maintenance_until,
            resource_monitor=PsutilResourceMonitor(),
            event_stream=event_stream,
            notifier=notifier,
        ),
        folder=folder,
        keeper=keeper,
        job_preparer=job_preparer,
        secrets=secrets,
    )


async def _end(task: asyncio.Task[str]) -> None:
    task.cancel()
    await asyncio.wait([task])
