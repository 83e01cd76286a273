"""A run's process: what it gets, what it does not get, and how its end is told."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import stat
from dataclasses import replace
from pathlib import Path

import pytest

from actors.domain.errors import CouldNotStart, StateFolderError
from actors.domain.ports import Launcher
from actors.domain.process import SpawnOrder
from actors.journal.state_folder import StateFolder
from tests.integration.keeper.kit import Facts, embedded, on_loop, order, python, shell
from tests.support.disks import read_only


@on_loop
async def test_a_run_prints_ends_and_is_recorded(state: StateFolder) -> None:
    async with embedded(state) as launcher:
        port: Launcher = launcher
        facts, wanted = Facts(), shell(state, "echo one; echo two >&2; exit 3")
        identity = await port.spawn(wanted, facts)
        status = await facts.exited()
        assert status.code == 3
        assert facts.lines == ["one", "two"]
        assert await facts.gone() == ()
        [kept] = await port.table()
        assert (kept.identity, kept.exit, kept.tree_ended) == (identity, status, True)
    recorded = json.loads((wanted.folder / "exit.json").read_text())
    assert recorded["code"] == status.code


@on_loop
async def test_a_run_that_a_signal_ends_has_its_negative_number(state: StateFolder) -> None:
    async with embedded(state) as launcher:
        facts = Facts()
        await launcher.spawn(shell(state, "kill -KILL $$"), facts)
        assert (await facts.exited()).code == -signal.SIGKILL


@on_loop
async def test_what_is_printed_without_a_line_end_is_told_before_the_exit(
    state: StateFolder,
) -> None:
    async with embedded(state) as launcher:
        facts = Facts()
        await launcher.spawn(shell(state, "printf 'no end'"), facts)
        await facts.exited()
        assert facts.lines == ["no end"]


@on_loop
async def test_ordered_again_a_run_is_not_started_again(state: StateFolder) -> None:
    async with embedded(state) as launcher:
        facts, wanted = Facts(), shell(state, "echo once; exec sleep 100")
        several = [asyncio.create_task(launcher.spawn(wanted, facts)) for _ in range(5)]
        identities = {await one for one in several}
        identities.add(await launcher.spawn(wanted, facts))
        assert len(identities) == 1
        await facts.line("once")
        await launcher.end_tree(wanted.key, signal=signal.SIGKILL, grace_seconds=0)
        await facts.exited()
        assert facts.lines == ["once"]
        assert {await launcher.spawn(wanted, Facts())} == identities


@on_loop
async def test_a_forgotten_run_is_not_started_again_either(state: StateFolder) -> None:
    async with embedded(state) as launcher:
        facts, wanted = Facts(), shell(state, "echo once")
        identity = await launcher.spawn(wanted, facts)
        await facts.gone()
        await launcher.forget(wanted.key)
        assert await launcher.table() == []
        assert await launcher.watch(wanted.key, Facts()) is None
        assert await launcher.spawn(wanted, Facts()) == identity


@on_loop
async def test_a_run_is_a_session_and_a_group_of_its_own(state: StateFolder) -> None:
    script = "import os; print(os.getpid() == os.getsid(0) == os.getpgrp(), os.getpid())"
    async with embedded(state) as launcher:
        facts = Facts()
        identity = await launcher.spawn(python(state, script), facts)
        await facts.exited()
        assert facts.lines == [f"True {identity.pid}"]


@on_loop
async def test_a_run_gets_its_environment_its_marker_and_nothing_of_ours(
    state: StateFolder,
) -> None:
    strangers = dict.fromkeys(
        ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID", "LISTEN_FDS", "ACTOR_WORKER_POOL"), "x"
    )
    script = "import os, json; print(json.dumps(dict(os.environ)))"
    wanted = python(state, script)
    wanted = replace(wanted, env={**wanted.env, **strangers, "MINE": "ä\udcff", "LC_ALL": "C"})
    async with embedded(state) as launcher:
        facts = Facts()
        await launcher.spawn(wanted, facts)
        await facts.exited()
    [line] = facts.lines
    expected = {**wanted.env, "ACTOR_WORKER_RUN": wanted.key}
    assert json.loads(line) == {k: v for k, v in expected.items() if k not in strangers}


@on_loop
async def test_a_run_inherits_no_descriptor_no_signal_and_no_mask(state: StateFolder) -> None:
    script = (
        "import os; print(os.readlink('/proc/self/fd/0'), sorted(os.listdir('/proc/self/fd')));"
        "print([l for l in open('/proc/self/status') if l.startswith(('SigBlk', 'Umask'))])"
    )
    async with embedded(state) as launcher:
        other, facts = Facts(), Facts()
        await launcher.spawn(shell(state, "sleep 100"), other)
        await launcher.spawn(python(state, script), facts)
        ignored = Facts()
        await launcher.spawn(shell(state, "grep SigIgn /proc/self/status"), ignored)
        await facts.exited()
        await ignored.exited()
    umask = os.umask(0)
    os.umask(umask)
    assert facts.lines == [
        "/dev/null ['0', '1', '2', '3']",  # 3 is the listing's own
        str([f"Umask:\t{umask:04o}\n", f"SigBlk:\t{0:016x}\n"]),
    ]
    assert ignored.lines == [f"SigIgn:\t{0:016x}"]


@on_loop
async def test_without_a_working_directory_a_run_has_one_for_its_time(
    state: StateFolder, tmp_path: Path
) -> None:
    wanted = shell(state, "pwd; mkdir -p a/b; echo x > a/b/c; ln -s / a/root; chmod 500 a")
    wanted = replace(wanted, working_dir=None, env={**wanted.env, "TMPDIR": str(tmp_path)})
    async with embedded(state) as launcher:
        facts = Facts()
        await launcher.spawn(wanted, facts)
        await facts.gone()
    [line] = facts.lines
    assert (Path(line).parent, line.endswith("prefect")) == (tmp_path, True)
    assert [name for name in os.listdir(tmp_path) if name.endswith("prefect")] == []


@on_loop
async def test_a_run_can_be_nicer(state: StateFolder) -> None:
    script = "import os; print(os.nice(0))"
    async with embedded(state) as launcher:
        facts = Facts()
        await launcher.spawn(replace(python(state, script), nice=7), facts)
        await facts.exited()
    assert facts.lines == [str(os.nice(0) + 7)]


def not_executable(order: SpawnOrder, tmp_path: Path) -> SpawnOrder:
    (tmp_path / "plain").write_text("echo")
    return replace(order, argv=(str(tmp_path / "plain"),))


def no_interpreter(order: SpawnOrder, tmp_path: Path) -> SpawnOrder:
    script = tmp_path / "script"
    script.write_text("#!/nowhere/python\n")
    script.chmod(0o700)
    return replace(order, argv=("script",), env={"PATH": str(tmp_path)})


def no_program(order: SpawnOrder, tmp_path: Path) -> SpawnOrder:
    file = tmp_path / "text"
    file.write_text("no first line")
    file.chmod(0o700)
    return replace(order, argv=(str(file),))


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda o, p: replace(o, argv=("nowhere-to-be-found",)), "not found in the run's PATH"),
        (lambda o, p: replace(o, argv=("/nowhere/found",)), "/nowhere/found does not exist"),
        (lambda o, p: replace(o, argv=(str(p),)), "is a directory"),
        (not_executable, "not executable: permission denied"),
        (no_interpreter, "first line .* missing"),
        (no_program, "neither a program nor a script"),
        (lambda o, p: replace(o, argv=()), "command is empty"),
        (lambda o, p: replace(o, argv=("true", "a\0b")), "NUL"),
        (lambda o, p: replace(o, argv=("true", "x" * 3_000_000)), "too long"),
        (lambda o, p: replace(o, argv=("true", "x" * 17_000_000)), "longer than"),
        (lambda o, p: replace(o, env={"A=B": "x"}), "name of an environment variable"),
        (lambda o, p: replace(o, env={"A": "\0"}), "variable A contains a NUL"),
        (lambda o, p: replace(o, working_dir=p / "none"), "directory .*none does not exist"),
        (lambda o, p: replace(o, working_dir=Path("/dev/null")), "null is not a directory"),
    ],
)
@on_loop
async def test_what_cannot_be_started_is_said_in_words(
    state: StateFolder, tmp_path: Path, spoil: object, words: str
) -> None:
    assert callable(spoil)
    wanted = spoil(order(state, "true"), tmp_path)
    async with embedded(state) as launcher:
        with pytest.raises(CouldNotStart, match=words):
            await launcher.spawn(wanted, Facts())
        assert await launcher.table() == []
        assert os.listdir(wanted.folder) == []
        facts = Facts()
        await launcher.spawn(order(state, "true", key=wanted.key), facts)
        assert (await facts.exited()).code == 0


@on_loop
async def test_what_is_on_disk_is_for_its_owner_only(state: StateFolder) -> None:
    async with embedded(state) as launcher:
        facts = Facts()
        await launcher.spawn(shell(state, "echo x"), facts)
        await facts.gone()
        for folder, folders, files in os.walk(state.path):
            for name in folders:
                assert stat.S_IMODE(os.stat(Path(folder, name)).st_mode) == 0o700
            for name in files:
                assert stat.S_IMODE(os.stat(Path(folder, name)).st_mode) == 0o600


@on_loop
async def test_a_state_folder_may_have_a_very_long_path(tmp_path: Path) -> None:
    with StateFolder(tmp_path / ("x" * 120) / "state") as state:
        async with embedded(state) as launcher:
            facts = Facts()
            await launcher.spawn(order(state, "true"), facts)
            assert (await facts.exited()).code == 0


@on_loop
async def test_the_keeper_holds_no_more_descriptors_after_runs_than_before(
    state: StateFolder,
) -> None:
    async with embedded(state) as launcher:
        folder = f"/proc/{launcher.keeper_pid}/fd"
        before = len(os.listdir(folder))
        ours = len(os.listdir("/proc/self/fd"))
        for control in (False, True):
            several = [Facts() for _ in range(20)]
            for facts in several:
                wanted = replace(shell(state, "echo x"), control_channel=control)
                await launcher.spawn(wanted, facts)
            for facts in several:
                await facts.gone()
        for run in await launcher.table():
            await launcher.forget(run.key)
        assert len(os.listdir(folder)) == before
        assert len(os.listdir("/proc/self/fd")) == ours


@on_loop
async def test_a_disk_that_takes_no_record_is_not_the_runs_fault(state: StateFolder) -> None:
    wanted = order(state, "true")
    async with embedded(state) as launcher:
        with read_only(wanted.folder), pytest.raises(StateFolderError, match="Read-only"):
            await launcher.spawn(wanted, Facts())
        facts = Facts()
        await launcher.spawn(wanted, facts)
        assert (await facts.exited()).code == 0


@on_loop
@pytest.mark.parametrize("old", [None, "/old"])
async def test_a_run_can_have_its_directory_on_pythonpath(
    state: StateFolder, old: str | None
) -> None:
    async with embedded(state) as launcher:
        facts = Facts()
        wanted = shell(state, 'test "$PYTHONPATH" = "$PWD$OLD"')
        env = dict(wanted.env) | ({} if old is None else {"PYTHONPATH": old, "OLD": f":{old}"})
        await launcher.spawn(replace(wanted, env=env, on_python_path=True), facts)
        assert (await facts.exited()).code == 0
