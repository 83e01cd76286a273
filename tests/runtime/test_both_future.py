"""Futures of either kind, used from threads."""

from __future__ import annotations

import queue
import sys
import threading
import traceback
from typing import Any

import pykka
import pytest

from tests.runtime.kinds import SECONDS, Kind


@pytest.fixture
def future(kind: Kind) -> pykka.Future[Any]:
    return kind.future_class()


def test_get_waits_for_another_thread(future: pykka.Future[Any]) -> None:
    thread = threading.Thread(target=future.set, args=("value",))
    thread.start()
    assert future.get(timeout=SECONDS) == "value"
    thread.join()


def test_get_may_be_repeated(future: pykka.Future[Any]) -> None:
    future.set(1)
    assert [future.get(), future.get(timeout=0)] == [1, 1]


def test_get_times_out(future: pykka.Future[Any]) -> None:
    with pytest.raises(pykka.Timeout):
        future.get(timeout=0)


def test_it_is_set_once(future: pykka.Future[Any]) -> None:
    future.set(1)
    with pytest.raises(queue.Full):
        future.set(2)
    with pytest.raises(queue.Full):
        future.set_exception((ValueError, ValueError(), None))
    with pytest.raises(queue.Full):
        future.set_get_hook(lambda timeout: 3)
    assert future.get() == 1


def test_a_future_in_a_future_is_a_value(kind: Kind, future: pykka.Future[Any]) -> None:
    inner = kind.future_class()
    future.set(inner)
    assert future.get() is inner


def test_get_raises_the_exception_with_its_whole_traceback(future: pykka.Future[Any]) -> None:
    try:
        raise NameError("here")
    except NameError:
        set_at = traceback.extract_tb(sys.exc_info()[2])
        future.set_exception()
    for _ in range(2):
        with pytest.raises(NameError, match="here") as caught:
            future.get()
        got = traceback.extract_tb(caught.value.__traceback__)
        assert got[-len(set_at) :] == set_at


def test_an_exception_may_be_set_by_its_class(future: pykka.Future[Any]) -> None:
    future.set_exception((KeyError, None, None))
    with pytest.raises(KeyError):
        future.get()


def test_get_all_collects_or_times_out(kind: Kind) -> None:
    futures: list[pykka.Future[Any]] = [kind.future_class() for _ in range(2)]
    futures[0].set(0)
    with pytest.raises(pykka.Timeout):
        pykka.get_all(futures, timeout=0)
    futures[1].set(1)
    assert pykka.get_all(futures) == pykka.get_all(futures) == [0, 1]


def test_a_get_hook_gets_the_timeout_and_is_called_once(future: pykka.Future[Any]) -> None:
    timeouts: list[float | None] = []
    future.set_get_hook(timeouts.append)
    assert future.get(timeout=1) is None
    assert future.get(timeout=2) is None
    assert timeouts == [1]


def test_a_get_hook_that_raises_is_called_again(future: pykka.Future[Any]) -> None:
    timeouts: list[float | None] = []

    def hook(timeout: float | None) -> int:
        if not timeouts:
            timeouts.append(timeout)
            raise ZeroDivisionError
        return 5

    future.set_get_hook(hook)
    with pytest.raises(ZeroDivisionError):
        future.get(timeout=0)
    assert future.get(timeout=0) == 5


def test_a_future_with_a_get_hook_cannot_be_set(future: pykka.Future[Any]) -> None:
    future.set_get_hook(lambda timeout: 1)
    with pytest.raises(queue.Full):
        future.set(2)
    assert future.get() == 1


def test_map(future: pykka.Future[Any]) -> None:
    mapped = future.map(lambda value: value + 1)
    with pytest.raises(pykka.Timeout):
        mapped.get(timeout=0)
    future.set(1)
    assert mapped.get() == 2
    with pytest.raises(TypeError):
        future.map(len).get()


def test_a_map_is_called_once_and_only_when_somebody_gets_it(future: pykka.Future[Any]) -> None:
    calls: list[int] = []
    mapped = future.map(calls.append)
    future.set(1)
    assert calls == []
    mapped.get()
    mapped.get()
    assert calls == [1]


def test_filter(future: pykka.Future[Any]) -> None:
    filtered = future.filter(lambda item: item > 1)
    future.set([1, 2, 3])
    assert filtered.get() == [2, 3]


def test_filter_of_what_has_no_items(future: pykka.Future[Any]) -> None:
    filtered = future.filter(bool)
    future.set(1)
    with pytest.raises(TypeError):
        filtered.get()


def test_reduce(future: pykka.Future[Any]) -> None:
    total = future.reduce(lambda a, b: a + b)
    total_and_ten = future.reduce(lambda a, b: a + b, 10)
    future.set([1, 2, 3])
    assert total.get() == 6
    assert total_and_ten.get() == 16


def test_join(kind: Kind, future: pykka.Future[Any]) -> None:
    other = kind.future_class()
    joined = future.join(other)
    future.set(1)
    with pytest.raises(pykka.Timeout):
        joined.get(timeout=0)
    other.set(2)
    assert joined.get() == [1, 2]


def test_combinators_combine(future: pykka.Future[Any]) -> None:
    total = future.filter(lambda item: item > 1).map(sum).map(str)
    future.set([1, 2, 3])
    assert total.get(timeout=SECONDS) == "5"
