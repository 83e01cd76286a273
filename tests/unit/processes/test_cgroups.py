"""What control groups tell, from files as the kernel writes them."""

from __future__ import annotations

from pathlib import Path

import pytest

from actors.processes.cgroups import Cgroup, of_process
from actors.processes.measuring import CgroupWitness


def write(folder: Path, **files: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (folder / name.replace("__", ".")).write_text(content)


@pytest.fixture
def service(tmp_path: Path) -> Path:
    """The folder of a version 2 group called ``a/b``, in which process 7 is."""
    write(tmp_path / "proc" / "7", cgroup="0::/a/b\n")
    write(tmp_path / "fs", cgroup__controllers="memory\n")
    folder = tmp_path / "fs" / "a" / "b"
    write(folder, memory__events="low 0\noom 1\noom_kill 3\n")
    return folder


def found(tmp_path: Path) -> Cgroup:
    group = of_process(7, proc=tmp_path / "proc", mount=tmp_path / "fs")
    assert group is not None
    return group


def test_the_kills_of_a_group(tmp_path: Path, service: Path) -> None:
    assert found(tmp_path).kernel_kills() == 3


def test_the_kills_of_a_group_without_the_controller_are_counted_above_it(
    tmp_path: Path, service: Path
) -> None:
    write(tmp_path / "proc" / "7", cgroup="0::/a/b/actor-worker/run\n")
    (service / "actor-worker" / "run").mkdir(parents=True)
    group = found(tmp_path)
    (service / "actor-worker" / "run").rmdir()
    assert group.kernel_kills() == 3


def test_the_tightest_limit_on_the_way_up_counts(tmp_path: Path, service: Path) -> None:
    assert found(tmp_path).used_percent() is None
    write(service, memory__current="600\n", memory__max="max\n", memory__stat="inactive_file 9\n")
    assert found(tmp_path).used_percent() is None
    write(
        service.parent,
        memory__current="700\n",
        memory__max="1000\n",
        memory__stat="anon 5\ninactive_file 200\n",
    )
    assert found(tmp_path).used_percent() == 50.0


def test_version_1(tmp_path: Path) -> None:
    write(tmp_path / "proc" / "7", cgroup="5:cpu,cpuacct:/x\n4:memory:/x\n0::/x\n")
    write(
        tmp_path / "fs" / "memory" / "x",
        memory__oom_control="oom_kill_disable 0\nunder_oom 0\noom_kill 2\n",
        memory__usage_in_bytes="90\n",
        memory__limit_in_bytes="100\n",
        memory__stat="total_inactive_file 10\n",
    )
    assert found(tmp_path).kernel_kills() == 2
    assert found(tmp_path).used_percent() == 80.0


def test_a_process_that_is_gone_has_none(tmp_path: Path) -> None:
    assert of_process(7, proc=tmp_path, mount=tmp_path) is None


def test_a_witness_forgets_what_happened_two_looks_ago(tmp_path: Path, service: Path) -> None:
    witness = CgroupWitness(found(tmp_path))
    assert not witness.saw_a_kill()
    write(service, memory__events="oom_kill 4\n")
    assert witness.saw_a_kill()
    witness.look()  # it may come right between a kill and the news of the exit
    assert witness.saw_a_kill()
    witness.look()
    assert not witness.saw_a_kill()


def test_without_a_group_there_is_no_evidence() -> None:
    assert not CgroupWitness(None).saw_a_kill()
