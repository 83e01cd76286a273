"""Whose is which process: proved by marker, descent, session or memory, and by nothing else."""

from __future__ import annotations

from pathlib import Path

from actors.keeper.cgroup import Cgroup
from actors.keeper.process_scan import ProcessScan
from actors.keeper.procfs import Stat
from actors.keeper.runs import Runs
from actors.keeper.table import Run
from tests.unit.keeper.manual_loop import ManualLoop

KEEPER = 10


def stat(
    pid: int, parent: int, *, session: int = 1, pgrp: int = 1, start: int = 5, state: str = "S"
) -> Stat:
    fields = [state, str(parent), str(pgrp), str(session), "0", "0", "0", *["0"] * 12, str(start)]
    return Stat(pid, "command", [field.encode() for field in fields])


def run(tmp_path: Path, pid: int = 100, start: int = 5) -> Run:
    note = {"key": "r.1", "pid": pid, "start_ticks": start, "boot_id": "", "pid_namespace": ""}
    return Run(str(tmp_path), note, None, ours=True)


def pids(scan: ProcessScan, of: Run) -> list[int]:
    return [member.pid for member in scan.members(of)]


def test_descendants_of_the_living_process_are_members(tmp_path: Path) -> None:
    stats = [stat(100, KEEPER), stat(101, 100), stat(102, 101), stat(200, KEEPER)]
    assert pids(ProcessScan(stats, {}, KEEPER), run(tmp_path)) == [100, 101, 102]


def test_a_recycled_pid_is_not_the_run(tmp_path: Path) -> None:
    stats = [stat(100, 1, start=6), stat(101, 100)]
    assert pids(ProcessScan(stats, {}, KEEPER), run(tmp_path)) == []


def test_marked_orphans_are_members_with_all_below_them(tmp_path: Path) -> None:
    stats = [stat(150, 1), stat(151, 150), stat(152, 1)]
    scan = ProcessScan(stats, {150: "r.1", 152: "r.2"}, KEEPER)
    assert pids(scan, run(tmp_path)) == [150, 151]


def test_another_runs_marker_below_ours_counts_for_the_other(tmp_path: Path) -> None:
    stats = [stat(100, KEEPER), stat(101, 100)]
    assert pids(ProcessScan(stats, {101: "r.2"}, KEEPER), run(tmp_path)) == [100]


def test_the_session_counts_below_the_keeper_and_not_elsewhere(tmp_path: Path) -> None:
    ended = run(tmp_path)
    ended.exit = {"code": 0}
    stats = [stat(150, KEEPER, session=100), stat(151, 1, session=100)]
    assert pids(ProcessScan(stats, {}, KEEPER), ended) == [150]


def test_a_pid_that_another_run_has_by_now_is_not_the_former_ones(tmp_path: Path) -> None:
    """B has the number of A, which is over: neither B nor what is in B's session is A's."""
    over = run(tmp_path, pid=500)
    over.exit = {"code": 0}
    stats = [
        stat(500, KEEPER, session=500, start=9),
        stat(501, 500, session=500, start=10),  # it dropped its environment
        stat(600, KEEPER),
    ]
    assert pids(ProcessScan(stats, {500: "r.2", 600: "r.1"}, KEEPER), over) == [600]
    assert pids(ProcessScan(stats, {600: "r.1"}, KEEPER), over) == [600]  # B has not yet begun


def test_the_session_of_another_run_stays_its_own_when_its_process_is_over(
    tmp_path: Path,
) -> None:
    former, later = run(tmp_path, pid=500), run(tmp_path, pid=500, start=9)
    former.exit = later.exit = {"code": 0}
    later.key = "r.2"
    runs = Runs(ManualLoop(), lambda *_: None, lambda: True)
    runs.add(former)
    runs.add(later)
    scan = ProcessScan([stat(501, KEEPER, session=500, start=10)], {}, KEEPER)
    assert (pids(scan, former), pids(scan, later)) == ([], [501])


def test_who_is_marked_for_another_run_by_now_is_no_member_any_more(tmp_path: Path) -> None:
    wanted = run(tmp_path)
    stats = [stat(100, KEEPER, session=100), stat(101, 100, session=100)]
    assert pids(ProcessScan(stats, {}, KEEPER), wanted) == [100, 101]
    assert pids(ProcessScan(stats, {101: "r.2"}, KEEPER), wanted) == [100]


def test_the_session_counts_while_the_run_itself_lives(tmp_path: Path) -> None:
    stats = [stat(100, 1, session=100), stat(151, 1, session=100)]
    assert pids(ProcessScan(stats, {}, KEEPER), run(tmp_path)) == [100, 151]


def test_what_was_seen_as_a_member_stays_one_without_ancestry(tmp_path: Path) -> None:
    wanted = run(tmp_path)
    assert pids(ProcessScan([stat(100, KEEPER), stat(101, 100)], {}, KEEPER), wanted) == [100, 101]
    wanted.exit = {"code": 0}
    assert pids(ProcessScan([stat(101, 1)], {}, KEEPER), wanted) == [101]
    assert pids(ProcessScan([stat(101, 1, start=7)], {}, KEEPER), wanted) == []


def test_whoever_is_in_the_control_group_is_a_member(tmp_path: Path) -> None:
    group = tmp_path / "r.1"
    group.mkdir()
    (group / "cgroup.procs").write_text("150\n152\n")  # 152 came after the look
    (group / "cgroup.events").write_text("populated 1\n")
    wanted = run(tmp_path)
    wanted.exit = {"code": 0}
    wanted.cgroup = Cgroup(str(group))
    scan = ProcessScan([stat(150, 1), stat(151, 150), stat(160, 1)], {}, KEEPER)
    assert pids(scan, wanted) == [150, 151]
    assert not scan.is_settled(wanted)
    (group / "cgroup.events").write_text("populated 0\n")
    assert scan.is_settled(wanted)


def test_zombies_are_no_members_but_lead_to_some(tmp_path: Path) -> None:
    stats = [stat(100, KEEPER), stat(101, 100, state="Z"), stat(102, 101)]
    assert pids(ProcessScan(stats, {}, KEEPER), run(tmp_path)) == [100, 102]


def test_a_group_is_signalled_as_one_only_where_all_of_it_is_ours(tmp_path: Path) -> None:
    stats = [
        stat(100, KEEPER, pgrp=100),
        stat(101, 100, pgrp=100),
        stat(102, 100, pgrp=900),
        stat(900, 1, pgrp=900),
    ]
    scan = ProcessScan(stats, {}, KEEPER)
    assert scan.whole_groups(scan.members(run(tmp_path))) == {100}


def test_a_command_may_be_called_anything() -> None:
    from actors.keeper import procfs

    found = procfs.stat(1)
    assert found is not None
    assert (found.pid, found.parent) == (1, 0)
