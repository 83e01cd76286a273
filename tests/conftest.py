"""For every test: it has to leave the process as it found it."""

from __future__ import annotations

import signal
from collections.abc import Generator, Iterator
from typing import Any

import hypothesis
import pytest

from tests.support.leaks import KINDS, Snapshot
from tests.support.ports import held_port
from tests.support.servers import ends_of_logs
from tests.support.side_by_side import scheduler

# How fast an example is says something of the machine, nothing of the code.
hypothesis.settings.register_profile(
    "unhurried", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("unhurried")


def pytest_configure(config: pytest.Config) -> None:
    # A shell's background job ignores SIGINT, and so would every program that tests interrupt.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    # What nohup(1) starts ignores SIGHUP. Programs inherit what is ignored, not what is handled:
    # with a handler these tests go on after a hang-up, and what they start hears of one.
    if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
        signal.signal(signal.SIGHUP, lambda number, frame: None)
    config.addinivalue_line(
        "markers",
        f"keeps(*kinds): the test may leave things of these kinds behind ({', '.join(KINDS)}), "
        "because a fixture of wider scope owns them; say why in a comment",
    )


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> object:
    """Several processes start each Prefect server once."""
    return scheduler(config, log)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """A failure shows what the Prefect servers of this process printed last."""
    report = yield
    if report.failed:
        for series, end in ends_of_logs():
            report.sections.append((f"the log of Prefect {series}", end))
    return report


@pytest.fixture
def port() -> Iterator[int]:
    """A port for a program that the test starts."""
    with held_port() as port:
        yield port


@pytest.fixture(autouse=True)
def _leaves_nothing_behind(request: pytest.FixtureRequest) -> Iterator[None]:
    """Fail a test that leaves threads, tasks, processes, descriptors or actors behind.

    Fixtures of wider scope are up before this one and belong to what was there before.
    """
    keeping = [kind for mark in request.node.iter_markers("keeps") for kind in mark.args]
    before = Snapshot.take()
    yield
    leftovers = before.leftovers(keeping)
    if leftovers:
        pytest.fail("The test left behind:\n  " + "\n  ".join(leftovers), pytrace=False)
