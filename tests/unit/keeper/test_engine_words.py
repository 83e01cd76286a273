"""What engines say on their control channel, byte for byte as Prefect 3.9.1 was seen to say it."""

from __future__ import annotations

import pytest

from actors.keeper.engine_words import ACKNOWLEDGED, HELLO_ANSWER, MAX_RECEIPT, EngineWords

HELLO = bytes.fromhex("00 50 46 02 01")

JSON = (
    b'{"disposition":"STATE_REPORTED","state_id":"01a20da0-870f-7f4f-96fb-919a4ed96aac",'
    b'"state_name":"Completed","state_type":"COMPLETED"}'
)
RECEIPT = bytes.fromhex("01 00 00 00 84") + JSON


def receipt(body: bytes) -> bytes:
    return b"\1" + len(body).to_bytes(4, "big") + body


@pytest.fixture
def words() -> EngineWords:
    return EngineWords(takes_receipts=False)


@pytest.mark.parametrize("size", [1, 3, 1000])
def test_a_hello_and_a_receipt_are_understood_however_they_are_cut(
    words: EngineWords, size: int
) -> None:
    said = HELLO + RECEIPT
    found = [w for at in range(0, len(said), size) for w in words.feed(said[at : at + size])]
    reported = {"disposition": "STATE_REPORTED", "state_name": "Completed"}
    assert found == [HELLO_ANSWER, reported]


def test_an_aborted_transition_has_no_state(words: EngineWords) -> None:
    words.feed(HELLO)
    [found] = words.feed(receipt(b'{"disposition":"ORCHESTRATION_ABORTED"}'))
    assert found == {"disposition": "ORCHESTRATION_ABORTED", "state_name": None}


def test_engines_of_version_1_only_acknowledge(words: EngineWords) -> None:
    assert words.feed(b"a") == [ACKNOWLEDGED]


@pytest.mark.parametrize("offer", ["00 50 46 01 00", "00 50 46 02 00"])
def test_who_offers_no_receipts_gets_no_answer_and_may_send_none(
    words: EngineWords, offer: str
) -> None:
    assert words.feed(bytes.fromhex(offer)) == []
    with pytest.raises(ValueError, match="unexpected byte"):
        words.feed(RECEIPT)


@pytest.mark.parametrize(
    "said",
    [
        b"x",
        b"\0PG",
        b"\1" + (MAX_RECEIPT + 1).to_bytes(4, "big"),
        receipt(b"not JSON"),
        receipt(b"[]"),
        receipt(b'{"disposition":"WHATEVER"}'),
        receipt(b'{"disposition":"STATE_REPORTED"}'),
        receipt(b"\xff"),
    ],
)
def test_what_nobody_understands_is_an_error(words: EngineWords, said: bytes) -> None:
    words.feed(HELLO)
    with pytest.raises(ValueError, match=r"."):
        words.feed(said)
