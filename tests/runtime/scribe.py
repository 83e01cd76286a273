"""An actor that does what it is told, and things to tell it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from actors.runtime import AsyncioActor, AsyncioRef

Do = Callable[[], Any]


class Fine(BaseException):
    """Not an Exception; stands in for SystemExit."""


class Scribe(AsyncioActor):
    """Does what it is told and keeps a diary."""

    def __init__(self, diary: list[str], **hooks: Do) -> None:
        super().__init__()
        self.diary = diary
        self.hooks = hooks

    async def on_start(self) -> None:
        await self._do("start")

    async def on_receive(self, message: Do) -> Any:
        answer = message()
        return await answer if asyncio.iscoroutine(answer) else answer

    async def on_stop(self) -> None:
        await self._do("stop")

    async def on_failure(self, *exc_info: Any) -> None:
        await self._do(f"failure {exc_info[0].__name__}")

    async def _do(self, hook: str) -> None:
        if hook.split()[0] in self.hooks:
            answer = self.hooks[hook.split()[0]]()
            if asyncio.iscoroutine(answer):
                await answer
        self.diary.append(hook)


def raising(error: BaseException) -> Do:
    def do() -> None:
        raise error

    return do


async def forever() -> None:
    await asyncio.Event().wait()


async def ask(ref: AsyncioRef, do: Do) -> Any:
    return await ref.ask(do, block=False)


async def turns(count: int = 5) -> None:
    for _ in range(count):
        await asyncio.sleep(0)
