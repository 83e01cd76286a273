"""Remarks and events on their way to the server, on virtual time: LogShipper and EventEmitter."""

from __future__ import annotations

import asyncio
import logging
from itertools import pairwise

import pytest
from structlog.testing import capture_logs

from actors.deliveries import CUT
from actors.domain.errors import Unauthorized, Unavailable
from actors.runtime import AsyncioRef, shut_down
from tests.roles.batch_receiver import Receiver, an_emitter, event, remark, said, with_shipper
from tests.support.virtual import virtual


def test_remarks_are_gathered_for_the_pause_and_go_in_one_batch() -> None:
    async def story(shipper: AsyncioRef, server: Receiver) -> None:
        shipper.tell(remark("one"))
        await asyncio.sleep(1)
        shipper.tell(remark("two"))
        await asyncio.sleep(5)
        assert server.tried == [(2.0, ["one", "two"])]

    with_shipper(story, pause_seconds=2.0)


def test_a_batch_keeps_the_servers_limits_with_all_its_escapes() -> None:
    async def story(shipper: AsyncioRef, server: Receiver) -> None:
        for number in range(40):
            shipper.tell(remark(f"{number:02}" + '\x1b"' * 500))  # 4 KB each on the wire
        await asyncio.sleep(60)
        assert [text[:2] for text in server.taken] == [f"{number:02}" for number in range(40)]
        assert len(server.batches) > 2
        assert max(server.bytes) <= 50_000

    with_shipper(story, batch_bytes=50_000)


def test_no_more_than_a_thousand_remarks_go_in_a_batch() -> None:
    async def story(shipper: AsyncioRef, server: Receiver) -> None:
        for number in range(2_500):
            shipper.tell(remark(str(number)))
        await asyncio.sleep(60)
        assert [len(batch) for batch in server.batches] == [1000, 1000, 500]
        assert server.taken == [str(number) for number in range(2_500)]

    with_shipper(story)


@pytest.mark.parametrize("text", ["x" * 5000, "\x1b" * 5000, "€" * 5000, "x" * 900 + '"' * 5000])
def test_a_remark_that_is_too_long_is_cut_to_the_servers_limit(text: str) -> None:
    async def story(shipper: AsyncioRef, server: Receiver) -> None:
        shipper.tell(remark(text))
        await asyncio.sleep(5)
        [shown] = server.taken
        assert shown.endswith(CUT)
        assert text.startswith(shown.removesuffix(CUT))
        assert 1_600 < server.bytes[0] <= 2_000

    with_shipper(story, max_line_bytes=2_000)


def test_a_remark_below_the_level_is_not_shipped() -> None:
    async def story(shipper: AsyncioRef, server: Receiver) -> None:
        for level in (logging.DEBUG, logging.INFO, logging.WARNING, logging.ERROR):
            shipper.tell(remark(logging.getLevelName(level), level))
        await asyncio.sleep(5)
        assert server.taken == ["WARNING", "ERROR"]

    with_shipper(story, level=logging.WARNING)


def test_an_outage_is_waited_out_with_growing_pauses_and_said_in_two_lines() -> None:
    async def story(shipper: AsyncioRef, server: Receiver) -> None:
        server.trouble = Unavailable("no answer")
        shipper.tell(remark("one"))
        await asyncio.sleep(3600)
        shipper.tell(remark("two"))
        server.trouble = None
        await asyncio.sleep(120)
        assert server.batches == [["one", "two"]]
        times = [time for time, _ in server.tried]
        pauses = [later - time for time, later in pairwise(times)]
        assert pauses[0] < 2
        assert 40 < max(pauses[:-1]) < 80

    logs = with_shipper(story)
    [delayed] = said(logs, "run_logs.delayed")
    assert (delayed["waiting"], delayed["dropped"]) == (1, 0)
    [recovered] = said(logs, "run_logs.recovered")
    assert (recovered["log_level"], recovered["dropped"]) == ("info", 0)


def test_credentials_that_are_refused_are_waited_for_too() -> None:
    async def story(shipper: AsyncioRef, server: Receiver) -> None:
        server.trouble = Unauthorized("who are you?", status=401)
        shipper.tell(remark("one"))
        await asyncio.sleep(60)
        server.trouble = None
        await asyncio.sleep(120)
        assert server.taken == ["one"]

    with_shipper(story)


def test_what_a_long_outage_costs_is_the_oldest_and_is_said_at_once_and_at_the_end() -> None:
    async def story(shipper: AsyncioRef, server: Receiver) -> None:
        server.trouble = Unavailable("no answer")
        for number in range(10_000):
            shipper.tell(remark(str(number)))
        await asyncio.sleep(300)
        for number in range(10_000, 10_003):
            shipper.tell(remark(str(number)))
        await asyncio.sleep(300)
        server.trouble = None
        await asyncio.sleep(300)
        assert server.taken == [str(number) for number in range(3, 10_003)]
        shipper.tell(remark("later"))

    logs = with_shipper(story)
    assert [line["dropped"] for line in said(logs, "run_logs.delayed")] == [0, 3]
    [recovered] = said(logs, "run_logs.recovered")
    assert (recovered["log_level"], recovered["dropped"]) == ("warning", 3)


def test_more_than_fits_is_said_without_an_outage_too() -> None:
    async def story(shipper: AsyncioRef, server: Receiver) -> None:
        for number in range(10_002):
            shipper.tell(remark(str(number)))
        await asyncio.sleep(300)
        assert server.taken == [str(number) for number in range(2, 10_002)]

    [recovered] = said(with_shipper(story), "run_logs.recovered")
    assert recovered["dropped"] == 2


def test_a_remark_that_the_server_rejects_costs_only_itself() -> None:
    async def story(shipper: AsyncioRef, server: Receiver) -> None:
        server.rejects = {"bad"}
        for text in ("one", "bad", "two"):
            shipper.tell(remark(text))
        await asyncio.sleep(60)
        assert server.batches == [["one"], ["two"]]
        for text in ("three", "four"):
            shipper.tell(remark(text))
        await asyncio.sleep(60)
        assert server.batches[2:] == [["three", "four"]]

    logs = with_shipper(story)
    [rejected] = said(logs, "run_logs.rejected")
    assert rejected["dropped"] == 1
    assert said(logs, "run_logs.recovered") == []


def test_what_came_meanwhile_goes_after_what_came_back() -> None:
    async def story(shipper: AsyncioRef, server: Receiver) -> None:
        server.trouble = Unavailable("no answer")
        server.meanwhile = lambda: shipper.tell(remark("meanwhile"))
        shipper.tell(remark("first"))
        await asyncio.sleep(2.5)
        server.trouble, server.meanwhile = None, lambda: None
        await asyncio.sleep(60)
        assert server.taken == ["first", "meanwhile"]

    with_shipper(story)


def test_the_rest_is_delivered_at_the_end_and_one_that_is_rejected_keeps_none_back() -> None:
    servers: list[Receiver] = []

    async def story(shipper: AsyncioRef, server: Receiver) -> None:
        servers.append(server)
        server.rejects = {"bad"}
        for text in ("one", "bad", "two"):
            shipper.tell(remark(text))

    with_shipper(story)
    assert servers[0].taken == ["one", "two"]


def test_what_cannot_be_delivered_at_the_end_is_counted_with_what_was_dropped_before() -> None:
    async def story(shipper: AsyncioRef, server: Receiver) -> None:
        server.trouble = Unavailable("no answer")
        for number in range(10_004):
            shipper.tell(remark(str(number)))
        await asyncio.sleep(10)

    [undelivered] = said(with_shipper(story), "run_logs.undelivered")
    assert undelivered["lost"] == 10_004


@virtual
async def test_events_are_delivered_at_once_and_in_order() -> None:
    server = Receiver()
    emitter = an_emitter(server)
    for name in ("first", "second", "third"):
        emitter.tell(event(name))
    await asyncio.sleep(1)
    assert server.taken == ["first", "second", "third"]
    assert server.tried[0][0] == 0.0
    await shut_down(emitter, 60.0)


@virtual
async def test_events_with_much_in_them_go_in_smaller_batches() -> None:
    server = Receiver()
    emitter = an_emitter(server)
    for number in range(200):
        emitter.tell(event(str(number), labels=100))  # 8 KB each on the wire
    await asyncio.sleep(60)
    assert server.taken == [str(number) for number in range(200)]
    assert max(server.bytes) <= 400_000
    await shut_down(emitter, 60.0)


@virtual
async def test_of_events_the_five_thousand_latest_outlive_an_outage() -> None:
    server = Receiver()
    emitter = an_emitter(server)
    server.trouble = Unavailable("no answer")
    with capture_logs() as logs:
        for number in range(5_010):
            emitter.tell(event(str(number)))
        await asyncio.sleep(600)
        server.trouble = None
        await asyncio.sleep(600)
    assert server.taken == [str(number) for number in range(10, 5_010)]
    assert [line["dropped"] for line in said(logs, "events.recovered")] == [10]
    assert max(len(batch) for batch in server.batches) == 200
    await shut_down(emitter, 60.0)
