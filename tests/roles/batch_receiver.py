"""A server that takes what comes in batches, and what to send it."""

from __future__ import annotations

import asyncio
import json
import logging
import random
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from structlog.testing import capture_logs

from actors.deliveries import EventEmitter, LogShipper
from actors.domain.errors import InvalidRequest
from actors.domain.ids import FlowRunId
from actors.domain.model import LogLine, WorkerEvent
from actors.prefect_api.requests import events_body, logs_body
from actors.runtime import AsyncioRef, LoopClock, shut_down
from actors.testing.orchestrator import InMemoryOrchestrator
from actors.testing.virtual_time import START, run_virtual

RUN = FlowRunId("6d1de9b6-7a5f-4a56-a3f8-98b19b0d1f8b")


class Receiver(InMemoryOrchestrator):
    """A server that notes the batches that it takes and refuses what it is told to."""

    def __init__(self) -> None:
        super().__init__(LoopClock(epoch=START))
        self.tried: list[tuple[float, list[str]]] = []
        self.batches: list[list[str]] = []
        self.bytes: list[int] = []
        self.trouble: Exception | None = None
        self.rejects: set[str] = set()
        self.meanwhile: Callable[[], None] = lambda: None

    @property
    def taken(self) -> list[str]:
        return [text for batch in self.batches for text in batch]

    async def send_logs(self, lines: Sequence[LogLine]) -> None:
        await self._take([line.message for line in lines], logs_body(lines))

    async def send_events(self, events: Sequence[WorkerEvent]) -> None:
        await self._take([event.event for event in events], events_body(events))

    async def _take(self, texts: list[str], body: Any) -> None:
        self.tried.append((asyncio.get_running_loop().time(), texts))
        await asyncio.sleep(0.1)
        self.meanwhile()
        if self.trouble is not None:
            raise self.trouble
        if self.rejects & set(texts):
            raise InvalidRequest("what is that?", status=422)
        self.batches.append(texts)
        self.bytes.append(_size(body))


def _size(body: Any) -> int:
    return len(json.dumps(body, ensure_ascii=False).encode("utf-8", "replace"))


def remark(message: str, level: int = logging.INFO) -> LogLine:
    return LogLine(flow_run_id=RUN, level=level, message=message, timestamp=START)


def event(name: str, labels: int = 1) -> WorkerEvent:
    related = tuple(
        {"prefect.resource.id": f"prefect.tag.{n}", "prefect.resource.role": "tag"}
        for n in range(labels)
    )
    resource = {"prefect.resource.id": "prefect.worker.process.w"}
    return WorkerEvent(id="id", event=name, occurred=START, resource=resource, related=related)


def a_shipper(server: Receiver, **bounds: Any) -> AsyncioRef:
    return LogShipper.start(orchestrator=server, rng=random.Random(1), **bounds)


def an_emitter(server: Receiver) -> AsyncioRef:
    return EventEmitter.start(orchestrator=server, rng=random.Random(1))


def with_shipper(
    story: Callable[[AsyncioRef, Receiver], Awaitable[None]], **bounds: Any
) -> list[Any]:
    """Tell a story with a LogShipper; what was logged."""

    async def tell() -> None:
        server = Receiver()
        shipper = a_shipper(server, **bounds)
        try:
            await story(shipper, server)
        finally:
            await shut_down(shipper, 60.0)

    with capture_logs() as logs:
        run_virtual(tell())
    return logs


def said(logs: list[Any], event: str) -> list[Any]:
    return [line for line in logs if line["event"] == event]
