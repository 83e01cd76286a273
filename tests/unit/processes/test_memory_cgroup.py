"""What control groups tell of memory, from files as the kernel writes them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest

from actors.processes.memory_cgroup import MemoryCgroup, memory_cgroup_of
from actors.processes.resource_monitor import CgroupOomDetector

SECOND = "41 31 0:38 {root} {mount} rw,relatime shared:9 - cgroup2 cgroup2 rw,nsdelegate"
FIRST = "35 31 0:32 {root} {mount} rw,relatime - cgroup cgroup rw,memory"


def write(folder: Path, **files: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (folder / name.replace("__", ".")).write_text(content)


@dataclass(frozen=True, slots=True)
class Machine:
    """A ``/proc`` with process 7 and the hierarchies that we see mounted."""

    path: Path

    def __post_init__(self) -> None:
        write(self.path / "proc" / "self", mountinfo="")

    def mount(self, line: str, name: str, *, root: str = "/") -> Path:
        """Mount a hierarchy, of which what is below ``root`` can be seen."""
        folder = self.path / name
        folder.mkdir(parents=True)
        with (self.path / "proc" / "self" / "mountinfo").open("a") as file:
            file.write(line.format(root=root, mount=folder) + "\n")
        return folder

    def enter(self, *groups: str) -> None:
        """Process 7 is in these groups from now on."""
        write(self.path / "proc" / "7", cgroup="\n".join(groups) + "\n")

    def find(self) -> MemoryCgroup | None:
        return memory_cgroup_of(7, proc=str(self.path / "proc"))

    def found(self) -> MemoryCgroup:
        group = self.find()
        assert group is not None
        return group


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


@pytest.fixture
def service(machine: Machine) -> Path:
    """The folder of a version 2 group called ``a/b``, in which process 7 is."""
    folder = machine.mount(SECOND, "fs") / "a" / "b"
    machine.enter("0::/a/b")
    write(folder, memory__events="low 0\noom 1\noom_kill 3\n")
    return folder


def test_the_kills_of_a_group(machine: Machine, service: Path) -> None:
    assert machine.found().kernel_kills() == 3


def test_the_kills_of_a_group_without_the_controller_are_counted_above_it(
    machine: Machine, service: Path
) -> None:
    machine.enter("0::/a/b/actor-worker/run")
    (service / "actor-worker" / "run").mkdir(parents=True)
    group = machine.found()
    (service / "actor-worker" / "run").rmdir()
    assert group.kernel_kills() == 3


def test_what_a_group_holds_is_all_but_the_contents_of_files(
    machine: Machine, service: Path
) -> None:
    assert machine.found().held_bytes() is None
    statistics = "anon 500\ninactive_file 150\nactive_file 50\n"
    write(service, memory__current="700\n", memory__stat=statistics)
    assert machine.found().held_bytes() == 500


def test_the_tightest_limit_on_the_way_up_counts(machine: Machine, service: Path) -> None:
    assert machine.found().used_percent() is None
    write(service, memory__current="600\n", memory__max="max\n", memory__stat="inactive_file 9\n")
    assert machine.found().used_percent() is None
    write(
        service.parent,
        memory__current="700\n",
        memory__max="1000\n",
        memory__stat="anon 5\ninactive_file 200\n",
    )
    assert machine.found().used_percent() == 50.0


def write_first(folder: Path) -> None:
    write(
        folder,
        memory__oom_control="oom_kill_disable 0\nunder_oom 0\noom_kill 2\n",
        memory__usage_in_bytes="90\n",
        memory__limit_in_bytes="100\n",
        memory__stat="inactive_file 1\ntotal_inactive_file 10\ntotal_active_file 30\n",
    )


@pytest.mark.parametrize("hybrid", [False, True], ids=["alone", "beside version 2"])
def test_version_1(machine: Machine, hybrid: bool) -> None:
    """Beside version 2, where the run's own group is, the controller is in the older hierarchy."""
    if hybrid:
        (machine.mount(SECOND, "fs/unified") / "x" / "run").mkdir(parents=True)
    memory = machine.mount(FIRST, "fs/memory")
    machine.enter("5:cpu,cpuacct:/x", "4:memory:/x", "0::/x/run")
    write_first(memory / "x")
    group = machine.found()
    assert group.folder == memory / "x"
    assert group.kernel_kills() == 2
    assert group.used_percent() == 80.0
    assert group.held_bytes() == 50


def test_version_2_beside_a_version_1_without_memory(machine: Machine) -> None:
    machine.mount(FIRST.replace("memory", "name=systemd"), "fs/systemd")
    unified = machine.mount(SECOND, "fs/unified")
    machine.enter("1:name=systemd:/x", "0::/x")
    write(unified / "x", memory__events="oom_kill 4\n")
    assert machine.found().kernel_kills() == 4


@pytest.mark.parametrize(
    ("line", "group"), [(FIRST, "4:memory:/docker/1/x"), (SECOND, "0::/docker/1/x")]
)
def test_a_container_sees_a_part_of_the_hierarchy(machine: Machine, line: str, group: str) -> None:
    mount = machine.mount(line, "fs", root="/docker/1")
    machine.enter(group)
    write_first(mount / "x")
    write(mount / "x", memory__events="oom_kill 2\n")
    assert machine.found().folder == mount / "x"
    assert machine.found().kernel_kills() == 2


def test_a_process_that_is_gone_has_none(machine: Machine) -> None:
    assert machine.find() is None


def test_a_detector_forgets_what_happened_two_looks_ago(machine: Machine, service: Path) -> None:
    detector = CgroupOomDetector(machine.found())
    assert not detector.oom_killed()
    write(service, memory__events="oom_kill 4\n")
    assert detector.oom_killed()
    detector.look()  # it may come right between a kill and the news of the exit
    assert detector.oom_killed()
    detector.look()
    assert not detector.oom_killed()


def test_a_kill_before_a_process_began_is_no_evidence_for_it(
    machine: Machine, service: Path
) -> None:
    write(service, memory__events="oom_kill 4\n")
    later = CgroupOomDetector(machine.found())
    assert not later.oom_killed()
    write(service, memory__events="oom_kill 5\n")
    assert later.oom_killed()


def test_without_a_group_there_is_no_evidence() -> None:
    assert not CgroupOomDetector(None).oom_killed()
