"""What every service is given: the settings that it goes by, and the addresses of the others."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ..domain.model import Json
from ..runtime import ActorDeadError, Directory
from .guardian import CurrentStage, Stage


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceSettings:
    """What the services go by that speak to the server.

    ``queues`` empty means all queues of the pool. The seconds are mean pauses between polls and
    between heartbeats; ``prefetch_seconds`` is how early a run may be taken. ``template`` is for a
    pool that has none. ``once``: a single poll, and a single look for runs to cancel.
    """

    pool: str
    queues: tuple[str, ...]
    worker: str
    hostname: str
    query_seconds: float
    prefetch_seconds: float
    heartbeat_seconds: float
    template: Mapping[str, Json]
    create_if_missing: bool
    once: bool


class Peers:
    """The addresses of a worker's actors. Who is not there gets no message."""

    def __init__(self, directory: Directory) -> None:
        self.guardian = directory.address("guardian")
        self.event_emitter = directory.address("event_emitter")
        self.log_shipper = directory.address("log_shipper")
        self.health_reporter = directory.address("health_reporter")
        self.heartbeater = directory.address("heartbeater")
        self.dispatcher = directory.address("dispatcher")
        self.poller = directory.address("poller")
        self.cancellation_watcher = directory.address("cancellation_watcher")
        self.event_subscriber = directory.address("event_subscriber")
        self.service_notifier = directory.address("service_notifier")

    async def stage(self, *, within_seconds: float | None = None) -> Stage:
        """Where in its life the worker is. A Guardian that is gone is stopping its services."""
        try:
            return await self.guardian.request(CurrentStage(), timeout=within_seconds)
        except ActorDeadError:
            return Stage.DRAINING
