"""What a former keeper wrote may come back from a broken disk as anything."""

from __future__ import annotations

import json
import tempfile
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from actors.keeper import files
from actors.keeper.protocol import encode
from actors.keeper.table import Run, exit_of_former, note_of

PROCESS = {
    "format": 1,
    "key": "r.1",
    "pid": 7,
    "start_ticks": 5,
    "boot_id": "b",
    "pid_namespace": "n",
    "pipe": 3,
    "temp_dir": "/tmp/x",
    "cgroup": "/sys/fs/cgroup/aw/r.1",
    "max_output_bytes": 1000,
    "end_leftovers": True,
}
EXIT = {
    "format": 1,
    "key": "r.1",
    "code": 3,
    "position": 10,
    "swept": True,
    "rebooted": False,
    "leftovers": [[8, "sleep 1000"]],
}
anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=4,
)


def harmed(whole: dict[str, Any]) -> st.SearchStrategy[dict[str, Any]]:
    """``whole`` with some fields gone and others turned into anything."""
    changes = st.dictionaries(st.sampled_from(sorted(whole)), anything)
    gone = st.sets(st.sampled_from(sorted(whole)), max_size=2)
    return st.builds(
        lambda new, without: {k: v for k, v in {**whole, **new}.items() if k not in without},
        changes,
        gone,
    )


@given(harmed(PROCESS), harmed(EXIT))
def test_it_is_not_believed_or_it_can_be_told(
    process: dict[str, Any], ended: dict[str, Any]
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        files.replace(folder, "process.json", process)
        files.replace(folder, "exit.json", ended)
        note, how = note_of(folder), exit_of_former(folder)
        if note is not None:
            run = Run(folder, note, None, ours=False)
            if how is not None:
                run.take_exit(how)
                run.save_exit()
            assert json.loads(encode(run.row())[4:])["key"] == run.key


def test_what_is_whole_is_believed() -> None:
    with tempfile.TemporaryDirectory() as folder:
        files.replace(folder, "process.json", PROCESS)
        files.replace(folder, "exit.json", EXIT)
        assert (note_of(folder), exit_of_former(folder)) == (PROCESS, EXIT)
