"""pykka on asyncio: actors that are tasks, the futures they answer with, and their supervision."""

from pykka import ActorDeadError, Timeout

from .actor import AsyncioActor
from .address import Address, Directory
from .clock import Cancellable, Clock, LoopClock
from .dump import ActorReport, ActorState, dump
from .errors import ActorKilled, UnknownMessage, WaitCancelled
from .future import AsyncioFuture
from .inbox import Inbox
from .query import Inspect, Ping, Query
from .ref import AsyncioRef
from .supervision import (
    BudgetExhausted,
    ChildDidNotStart,
    ChildSpec,
    Restart,
    RestartBudget,
    Supervisor,
    shut_down,
)
from .waits import Ticker, Timer

__all__ = [
    "ActorDeadError",
    "ActorKilled",
    "ActorReport",
    "ActorState",
    "Address",
    "AsyncioActor",
    "AsyncioFuture",
    "AsyncioRef",
    "BudgetExhausted",
    "Cancellable",
    "ChildDidNotStart",
    "ChildSpec",
    "Clock",
    "Directory",
    "Inbox",
    "Inspect",
    "LoopClock",
    "Ping",
    "Query",
    "Restart",
    "RestartBudget",
    "Supervisor",
    "Ticker",
    "Timeout",
    "Timer",
    "UnknownMessage",
    "WaitCancelled",
    "dump",
    "shut_down",
]
