"""Where the keeper's own control group is, and what becomes of the groups below it."""

from __future__ import annotations

from pathlib import Path

import pytest

from actors.keeper.cgroup import Cgroup, Cgroups, noted, own_group

V1 = "35 31 0:32 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory\n"


@pytest.fixture
def mount(tmp_path: Path) -> Path:
    """What stands for the place where version 2 is mounted."""
    folder = tmp_path / "fs cgroup"
    (folder / "service").mkdir(parents=True)
    for group in (folder, folder / "service"):
        (group / "cgroup.procs").touch()
    return folder


def seen_from(tmp_path: Path, mount: Path, *, group: str, root: str) -> str | None:
    """The own group of one in ``group`` to whom ``mount`` shows what is below ``root``."""
    self = tmp_path / "self"
    self.mkdir(exist_ok=True)
    (self / "cgroup").write_text(f"4:memory:/x\n0::{group}\n")
    place = str(mount).replace(" ", "\\040")
    line = f"41 31 0:38 {root} {place} rw,relatime shared:9 - cgroup2 cgroup2 rw\n"
    (self / "mountinfo").write_text(V1 + line)
    return own_group(str(tmp_path))


def test_it_is_found_by_its_mount(tmp_path: Path, mount: Path) -> None:
    found = seen_from(tmp_path, mount, group="/service", root="/")
    assert found == str(mount / "service")
    assert seen_from(tmp_path, mount, group="/", root="/") == str(mount)


def test_a_container_sees_a_part_of_the_hierarchy(tmp_path: Path, mount: Path) -> None:
    found = seen_from(tmp_path, mount, group="/docker/1/service", root="/docker/1")
    assert found == str(mount / "service")


@pytest.mark.parametrize(
    ("group", "root"), [("/elsewhere", "/docker/1"), ("/../service", "/"), ("/gone", "/")]
)
def test_a_group_that_is_not_to_be_seen_is_none(
    tmp_path: Path, mount: Path, group: str, root: str
) -> None:
    assert seen_from(tmp_path, mount, group=group, root=root) is None


def test_without_version_2_there_is_none(tmp_path: Path) -> None:
    (tmp_path / "self").mkdir()
    (tmp_path / "self" / "cgroup").write_text("4:memory:/x\n")
    (tmp_path / "self" / "mountinfo").write_text(V1)
    assert own_group(str(tmp_path)) is None
    assert own_group(str(tmp_path / "no proc")) is None


def test_a_refusal_is_said_once(
    tmp_path: Path, mount: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (mount / "file").touch()
    cgroups = Cgroups(str(tmp_path), str(mount / "file" / "below"))
    assert [cgroups.create("r.1"), cgroups.create("r.2")] == [None, None]
    assert capsys.readouterr().err.count("no control group") == 1


def test_where_there_can_be_none_nothing_is_tried(tmp_path: Path) -> None:
    cgroups = Cgroups(str(tmp_path), None)
    assert not cgroups.possible
    assert cgroups.create("r.1") is None
    cgroups.tidy()


def test_empty_groups_are_removed_and_others_stay(tmp_path: Path, mount: Path) -> None:
    cgroups = Cgroups(str(tmp_path), str(mount))
    empty, used = cgroups.create("r.1"), cgroups.create("r.2")
    assert empty is not None
    assert used is not None
    events = Path(used.path) / "cgroup.events"
    events.write_text("populated 1\nfrozen 0\n")
    cgroups.tidy()
    assert (Path(empty.path).exists(), Path(used.path).exists()) == (False, True)
    events.unlink()  # the kernel's files do not keep a group from being removed
    cgroups.tidy()
    assert not Path(used.path).parent.exists()


def test_the_kernel_is_asked_to_count_the_memory_of_each_run(tmp_path: Path) -> None:
    control = tmp_path / group_name(tmp_path) / "cgroup.subtree_control"
    control.touch()
    assert Cgroups(str(tmp_path), str(tmp_path)).create("r.1") is not None
    assert control.read_text() == "+memory"


def test_processes_of_inner_groups_count(tmp_path: Path) -> None:
    (tmp_path / "inner").mkdir()
    (tmp_path / "cgroup.procs").write_text("7\n8\n")
    (tmp_path / "inner" / "cgroup.procs").write_text("9\n")
    assert Cgroup(str(tmp_path)).pids() == {7, 8, 9}


def test_a_group_that_is_gone_is_empty(tmp_path: Path) -> None:
    gone = Cgroup(str(tmp_path / "gone"))
    assert (gone.pids(), gone.populated) == (set(), False)
    gone.kill()
    gone.remove()


def group_name(state: Path) -> str:
    """How the folder of all groups of a state folder's runs is called."""
    made = Cgroups(str(state), str(state)).create("r.1")
    assert made is not None
    return Path(made.path).parent.name


def noted_group(tmp_path: Path, mount: Path, path: object) -> Cgroup | None:
    """The group of the run r.1 that a record in the state folder ``tmp_path`` names."""
    seen_from(tmp_path, mount, group="/service", root="/")
    return noted(path, "r.1", state=str(tmp_path), proc=str(tmp_path))


def test_a_record_of_this_keeper_or_a_former_one_elsewhere_is_believed(
    tmp_path: Path, mount: Path
) -> None:
    name = group_name(tmp_path)
    for own in (mount, mount / "service", mount / "gone"):
        folder = f"{own}/{name}"
        found = noted_group(tmp_path, mount, f"{folder}/r.1")
        assert found is not None
        assert found.path == f"{folder}/r.1"


@pytest.mark.parametrize(
    "path",
    [
        None,
        7,
        "{mount}",
        "{mount}/r.1",
        "{mount}/service/{name}/r.2",
        "{mount}/service/actor-worker-1-1/r.1",
        "{elsewhere}/{name}/r.1",
        "{mount}/../elsewhere/{name}/r.1",
        "{mount}-2/{name}/r.1",
    ],
)
def test_a_record_that_names_what_no_keeper_made_for_the_run_is_not_believed(
    tmp_path: Path, mount: Path, path: object
) -> None:
    name = group_name(tmp_path)
    if isinstance(path, str):
        path = path.format(mount=mount, name=name, elsewhere=tmp_path / "elsewhere")
    assert noted_group(tmp_path, mount, path) is None
