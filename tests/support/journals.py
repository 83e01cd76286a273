"""A journal on a real folder, with its threads."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from actors.journal.journal import FolderJournal
from actors.journal.state_folder import StateFolder
from actors.prefect_api.http.threads import ThreadPool


@asynccontextmanager
async def journal_on(state: StateFolder, **options: Any) -> AsyncIterator[FolderJournal]:
    """The journal of a state folder; its threads are gone afterwards."""
    writer, readers = ThreadPool(1, name="journal"), ThreadPool(4, name="files")
    journal = FolderJournal(state, writer=writer, readers=readers, **options)
    try:
        yield journal
    finally:
        await journal.aclose()
        await writer.aclose()
        await readers.aclose()
