from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import pytest

from actors.app.identity import MOST_WORKERS, Seat, check_name, seats, take_seat
from actors.domain.errors import SettingsError, StateFolderError

BASE = Path("/home/me/.local/state/actor-worker")
HERE: dict[str, Any] = {
    "api_url": "http://prefect.example:4200/api",
    "pool": "My Pool",
    "host": "node-7",
    "base": BASE,
}


def first(**changes: Any) -> Seat:
    return next(seats(**(HERE | changes)))


def test_the_same_worker_has_the_same_seat_after_a_restart() -> None:
    assert first() == first()
    assert first(api_url=HERE["api_url"] + "/") == first()


def test_the_name_is_the_hosts_and_the_next_ones_are_numbered() -> None:
    names = [seat.name for seat in itertools.islice(seats(**HERE), 3)]
    assert names == ["node-7", "node-7-2", "node-7-3"]


@pytest.mark.parametrize("part", ["api_url", "pool", "host"])
def test_another_server_pool_or_host_has_another_folder(part: str) -> None:
    assert first(**{part: "other"}).folder != first().folder


def test_a_given_name_is_kept_while_its_folders_are_numbered() -> None:
    one, two = itertools.islice(seats(**HERE, name="blue"), 2)
    assert (one.name, two.name) == ("blue", "blue")
    assert one.folder != two.folder
    assert one.folder != first().folder


def test_a_given_folder_is_the_only_seat_and_has_a_stable_name_of_its_own() -> None:
    [seat] = seats(**HERE, state_dir=Path("/srv/w1"))
    [again] = seats(**HERE, state_dir=Path("/srv/w1"))
    [other] = seats(**HERE, state_dir=Path("/srv/w2"))
    assert seat == again
    assert seat.folder == Path("/srv/w1")
    assert seat.name.startswith("node-7-")
    assert seat.name != other.name


def test_a_folder_leaves_room_for_the_path_of_a_unix_socket() -> None:
    seat = first(pool="p" * 300, base=Path("/var/lib/actor-worker"))
    assert len(str(seat.folder / "keeper.sock")) < 80


def test_a_hostname_that_the_server_could_not_address_is_made_fit() -> None:
    assert check_name(first(host="a/b%c").name) == "a-b-c"


@pytest.mark.parametrize("name", ["a/b", "50%", "", "  "])
def test_a_name_that_the_server_cannot_address_is_refused(name: str) -> None:
    with pytest.raises(SettingsError, match="name"):
        first(name=name)


def test_a_held_folder_makes_a_worker_take_the_next_number() -> None:
    held = {first().folder}
    seat, lock = take_seat(
        seats(**HERE), lambda folder: None if folder in held else f"lock of {folder.name}"
    )
    assert (seat.name, seat.folder.name, lock) == ("node-7-2", "2", "lock of 2")


def test_a_given_folder_that_is_held_is_named_with_the_remedy() -> None:
    with pytest.raises(StateFolderError, match=r"/srv/w1.*--state-dir"):
        take_seat(seats(**HERE, state_dir=Path("/srv/w1")), lambda _: None)


def test_the_search_for_a_free_number_ends() -> None:
    with pytest.raises(StateFolderError, match=f"All {MOST_WORKERS}"):
        take_seat(seats(**HERE), lambda _: None)
