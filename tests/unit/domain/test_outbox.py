"""What waits to be delivered is in order, in batches, bounded, and counted when it is lost."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.domain.outbox import Outbox, json_bytes


def an_outbox(**bounds: int) -> Outbox[str]:
    return Outbox(**{"max_items": 5, "batch_items": 3, "batch_bytes": 10} | bounds, size_of=len)


def filled(items: str, **bounds: int) -> Outbox[str]:
    outbox = an_outbox(**bounds)
    for item in items.split():
        outbox.add(item)
    return outbox


def test_the_oldest_go_when_it_is_full_and_are_counted() -> None:
    outbox = filled("a b c d e f g")
    assert (len(outbox), outbox.dropped) == (5, 2)
    assert outbox.batch() + outbox.batch() == ("c", "d", "e", "f", "g")


def test_a_batch_has_so_many_items_and_bytes_at_most() -> None:
    outbox = filled("a b c d", batch_items=3)
    assert outbox.batch() == ("a", "b", "c")
    outbox = filled("aaaa bbbb cccc", batch_bytes=10)
    assert outbox.batch() == ("aaaa", "bbbb")
    assert outbox.batch() == ("cccc",)
    assert outbox.batch() == ()


def test_an_item_that_is_too_large_goes_alone() -> None:
    outbox = filled("a bbbbbbbbbbbbbbb c")
    assert [outbox.batch() for _ in range(3)] == [("a",), ("bbbbbbbbbbbbbbb",), ("c",)]


def test_fewer_may_be_asked_for() -> None:
    assert filled("a b c").batch(1) == ("a",)


def test_what_was_not_delivered_is_first_again() -> None:
    outbox = filled("a b c d")
    outbox.put_back(outbox.batch())
    assert outbox.batch() == ("a", "b", "c")


def test_of_what_comes_back_the_oldest_find_no_room() -> None:
    outbox = filled("a b c d e")
    batch = outbox.batch()
    for item in "fg":
        outbox.add(item)
    outbox.put_back(batch)
    assert outbox.dropped == 2
    assert outbox.batch() + outbox.batch() == ("c", "d", "e", "f", "g")


@given(st.lists(st.sampled_from(["add", "deliver", "fail", "reject"])))
def test_every_item_is_delivered_in_order_or_counted_as_lost(acts: list[str]) -> None:
    outbox: Outbox[int] = Outbox(max_items=4, batch_items=3, batch_bytes=100, size_of=lambda _: 1)
    added = 0
    delivered: list[int] = []
    rejected = 0
    for act in acts:
        if act == "add":
            outbox.add(added)
            added += 1
            continue
        batch = outbox.batch()
        if act == "deliver":
            delivered += batch
        elif act == "fail":
            outbox.put_back(batch)
        else:
            outbox.dropped += len(batch)
            rejected += len(batch)
    assert len(outbox) <= 4
    assert delivered == sorted(set(delivered))
    assert added == len(delivered) + len(outbox) + outbox.dropped
    assert outbox.dropped >= rejected


@pytest.mark.parametrize("value", ["plain", 'quoted "\\"', "\x00\x1b\n", "süß", {"a": ["\n", 1]}])
def test_bytes_are_counted_as_they_are_sent(value: object) -> None:
    assert json_bytes(value) == len(json.dumps(value, ensure_ascii=False).encode())


def test_undecodable_output_can_be_counted() -> None:
    assert json_bytes("\udce4") == 3
