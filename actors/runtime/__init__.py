"""pykka on asyncio: actors that are tasks, the futures they answer with, and their supervision."""

from pykka import ActorDeadError, Timeout

from .actor import AsyncioActor, UnknownMessage
from .address import Address, Directory
from .clock import LoopClock
from .dump import ActorReport, ActorState, dump
from .future import AsyncioFuture
from .inbox import Inbox
from .life import ActorKilled, Timer, WaitCancelled
from .query import Ping, Query
from .ref import AsyncioRef
from .supervision import (
    BudgetExhausted,
    ChildDidNotStart,
    ChildSpec,
    RestartBudget,
    Supervisor,
    shut_down,
)

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
    "ChildDidNotStart",
    "ChildSpec",
    "Directory",
    "Inbox",
    "LoopClock",
    "Ping",
    "Query",
    "RestartBudget",
    "Supervisor",
    "Timeout",
    "Timer",
    "UnknownMessage",
    "WaitCancelled",
    "dump",
    "shut_down",
]
