from __future__ import annotations

import asyncio
import os
import signal

import pytest

from actors.cli.signals import Step, stop_signals


def test_each_signal_is_the_next_step_and_the_last_step_stays() -> None:
    seen: list[tuple[str, int]] = []

    async def main() -> None:
        done = asyncio.Event()

        def step(name: str) -> tuple[str, Step]:
            def act(number: int) -> None:
                seen.append((name, number))
                done.set()

            return name, act

        with stop_signals([step("drain"), step("hurry"), step("leave")]):
            for number in (signal.SIGTERM, signal.SIGINT, signal.SIGTERM, signal.SIGTERM):
                done.clear()
                os.kill(os.getpid(), number)
                await asyncio.wait_for(done.wait(), 10)

    asyncio.run(main())
    assert seen == [
        ("drain", signal.SIGTERM),
        ("hurry", signal.SIGINT),
        ("leave", signal.SIGTERM),
        ("leave", signal.SIGTERM),
    ]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_outside_a_signal_does_what_it_did(number: signal.Signals) -> None:
    async def main() -> None:
        with stop_signals([("drain", lambda _: None)]):
            pass

    asyncio.run(main())
    assert signal.getsignal(number) in (signal.SIG_DFL, signal.default_int_handler)
