"""Framing: whatever the cuts, frames come out as they went in; nonsense is refused."""

from __future__ import annotations

import os
import socket

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.keeper.protocol import MAX_FRAME, Decoder, FrameSocket, ProtocolError, encode


def nobody(frame: dict[str, object], descriptor: int | None) -> None:
    """Takes a frame and keeps nothing of it."""


raw_bytes = st.integers(0xDC80, 0xDCFF).map(chr)
"""As Python tells bytes of the system that are no UTF-8 (PEP 383). A high surrogate before one is
never told, and JSON would make one character of the two."""
texts = st.text(st.characters(max_codepoint=0xD7FF) | raw_bytes, max_size=20)
frames = st.dictionaries(texts, st.none() | st.integers() | texts | st.lists(texts), max_size=4)


@given(st.lists(frames, max_size=5), st.data())
def test_frames_survive_any_cut(sent: list[dict[str, object]], data: st.DataObject) -> None:
    stream = b"".join(encode(frame) for frame in sent)
    decoder, received = Decoder(), []
    while stream:
        size = data.draw(st.integers(1, len(stream)))
        received += decoder.feed(stream[:size])
        stream = stream[size:]
    assert received == sent


@pytest.mark.parametrize(
    "nonsense",
    [
        b"GET / HTTP/1.1\r\n",
        (MAX_FRAME + 1).to_bytes(4, "big"),
        b"\0\0\0\2[]",
        b"\0\0\0\1x",
        b"\0\0\0\2\xff\xff",
        (200_000).to_bytes(4, "big") + b"[" * 200_000,
    ],
)
def test_what_is_no_frame_is_refused(nonsense: bytes) -> None:
    with pytest.raises(ProtocolError):
        Decoder().feed(nonsense)


def test_a_frame_too_long_is_refused_by_its_sender() -> None:
    with pytest.raises(ProtocolError):
        encode({"x": "y" * MAX_FRAME})


def test_descriptors_travel_with_their_frames() -> None:
    ours, theirs = map(FrameSocket, socket.socketpair())
    reading, writing = os.pipe()
    for number in range(3):
        ours.put({"number": number}, writing if number == 1 else None)
    ours.flush()
    received: list[tuple[dict[str, object], int | None]] = []

    def keep(frame: dict[str, object], descriptor: int | None) -> None:
        assert descriptor is None or not os.get_inheritable(descriptor)
        received.append((frame, None if descriptor is None else os.dup(descriptor)))

    while len(received) < 3:
        theirs.take(keep)
    assert [frame["number"] for frame, _ in received] == [0, 1, 2]
    assert [descriptor is not None for _, descriptor in received] == [False, True, False]
    os.close(writing)
    copy = received[1][1]
    assert copy is not None
    os.write(copy, b"x")
    assert os.read(reading, 2) == b"x"
    for descriptor in (copy, reading):
        os.close(descriptor)
    ours.close()
    theirs.close()


def test_descriptors_nobody_took_are_closed_with_the_wire() -> None:
    ours, theirs = map(FrameSocket, socket.socketpair())
    reading, writing = os.pipe()
    ours.put({"x": "y" * 3_000_000}, writing)
    ours.flush()
    assert ours.pending
    theirs.take(nobody)
    os.close(writing)
    ours.close()
    theirs.close()
    assert os.read(reading, 1) == b""
    os.close(reading)


def test_the_end_of_the_other_side_is_told() -> None:
    ours, theirs = map(FrameSocket, socket.socketpair())
    theirs.close()
    with pytest.raises(EOFError):
        ours.take(nobody)
    ours.close()


def test_descriptors_that_no_frame_announces_are_closed_at_once() -> None:
    raw, received = socket.socketpair()
    theirs = FrameSocket(received)
    reading, writing = os.pipe()
    half = encode({"x": "y" * 1000})
    for data in (encode({"op": "unannounced"}), half[:500], half[500:700]):
        socket.send_fds(raw, [data], [writing] * 20)
        theirs.take(nobody)
    os.close(writing)
    os.set_blocking(reading, False)
    with pytest.raises(BlockingIOError):  # the frame that is not whole may still announce one
        os.read(reading, 1)
    raw.sendall(half[700:])
    theirs.take(nobody)
    assert os.read(reading, 1) == b""
    os.close(reading)
    raw.close()
    theirs.close()


def test_a_frame_longer_than_allowed_so_far_is_refused() -> None:
    decoder = Decoder(max_frame=100)
    with pytest.raises(ProtocolError):
        decoder.feed(encode({"x": "y" * 100}))
