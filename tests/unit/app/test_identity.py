from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import pytest

from actors.app.identity import MOST_WORKERS, WorkerIdentity, acquire_identity, identities
from actors.domain.errors import StateFolderError

BASE = Path("/home/me/.local/state/actor-worker")
HERE: dict[str, Any] = {
    "api_url": "http://prefect.example:4200/api",
    "pool": "My Pool",
    "host": "node-7",
    "base": BASE,
}


def first(**changes: Any) -> WorkerIdentity:
    return next(identities(**(HERE | changes)))


def test_the_same_worker_has_the_same_identity_after_a_restart() -> None:
    assert first() == first()
    assert first(api_url=HERE["api_url"] + "/") == first()


def test_the_name_is_the_hosts_and_the_next_ones_are_numbered() -> None:
    names = [identity.name for identity in itertools.islice(identities(**HERE), 3)]
    assert names == ["node-7", "node-7-2", "node-7-3"]


@pytest.mark.parametrize("part", ["api_url", "pool", "host"])
def test_another_server_pool_or_host_has_another_folder(part: str) -> None:
    assert first(**{part: "other"}).folder != first().folder


def test_a_given_name_is_kept_while_its_folders_are_numbered() -> None:
    one, two = itertools.islice(identities(**HERE, name="blue"), 2)
    assert (one.name, two.name) == ("blue", "blue")
    assert one.folder != two.folder
    assert one.folder != first().folder


def test_a_given_folder_is_the_only_choice_and_has_a_stable_name_of_its_own() -> None:
    [identity] = identities(**HERE, state_dir=Path("/srv/w1"))
    [again] = identities(**HERE, state_dir=Path("/srv/w1"))
    [other] = identities(**HERE, state_dir=Path("/srv/w2"))
    assert identity == again
    assert identity.folder == Path("/srv/w1")
    assert identity.name.startswith("node-7-")
    assert identity.name != other.name


def test_a_folder_leaves_room_for_the_path_of_a_unix_socket() -> None:
    identity = first(pool="p" * 300, base=Path("/var/lib/actor-worker"))
    assert len(str(identity.folder / "keeper.sock")) < 80


def test_a_hostname_that_the_server_could_not_address_is_made_fit() -> None:
    assert first(host="a/b%c").name == "a-b-c"


def test_a_held_folder_makes_a_worker_take_the_next_number(tmp_path: Path) -> None:
    candidates = [WorkerIdentity(f"w{number}", tmp_path / str(number)) for number in (1, 2)]
    _, first_folder = acquire_identity(candidates)
    name, folder = acquire_identity(candidates)
    with first_folder, folder:
        assert (name, folder.path) == ("w2", tmp_path / "2")
        with pytest.raises(StateFolderError, match=rf"2; .*{tmp_path / '1'}.*--state-dir"):
            acquire_identity(candidates)


def test_the_search_for_a_free_number_ends() -> None:
    assert len(list(identities(**HERE))) == MOST_WORKERS
