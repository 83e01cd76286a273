"""How runs end: flows, commands, and processes that die."""

from __future__ import annotations

from tests.integration.prefect.kit import shell
from tests.integration.prefect.waiting import until
from tests.parity.sides import LONG, Side


def states_of_a_flow_that_succeeds(side: Side) -> str:
    run = side.flow("succeeds")
    with side.worker():
        side.over(run)
    return f"{side.names(run)}; {side.hooks(run)}"


def a_flow_that_fails(side: Side) -> str:
    run = side.flow("fails")
    with side.worker():
        return f"{side.over(run)}; {side.hooks(run)}"


def a_flow_that_cannot_be_imported(side: Side) -> str:
    run = side.flow("raises_at_import")
    with side.worker():
        return side.in_words(run)


def an_engine_that_is_killed(side: Side) -> str:
    run = side.flow("is_killed")
    with side.worker():
        side.over(run)
        return f"{side.in_words(run)}; {side.hooks(run, 'crashed')}"


def a_process_that_dies_waiting_for_a_retry(side: Side) -> str:
    run = side.flow("waits_for_its_retry")
    with side.worker():
        until(lambda: side.place.state(run)["name"] == "AwaitingRetry", patience=LONG)
        (side.place.folder / f"die-{run}").touch()
        return side.over(run)


def a_flow_that_suspends_and_exits_with_7(side: Side) -> str:
    run = side.flow("suspends_and_exits_with_7")
    with side.worker():
        return side.over(run)


def a_command_that_exits_with_0(side: Side) -> str:
    run = side.place.run("true")
    with side.worker():
        side.over(run)
        return side.names(run)


def a_command_that_exits_with_7(side: Side) -> str:
    run = side.place.run(shell("exit 7"))
    with side.worker():
        return side.in_words(run)


def a_command_that_is_missing(side: Side) -> str:
    run = side.place.run("no-such-command-anywhere")
    with side.worker():
        return side.in_words(run)


def first_lines_of_the_runs_log(side: Side) -> str:
    run = side.place.run("true")
    with side.worker():
        side.over(run)
        log = until(lambda: side.place.run_log(run), lambda lines: len(lines) >= 2, patience=LONG)
    return " | ".join(log[:2])


SCENARIOS = (
    states_of_a_flow_that_succeeds,
    a_flow_that_fails,
    a_flow_that_cannot_be_imported,
    an_engine_that_is_killed,
    a_process_that_dies_waiting_for_a_retry,
    a_flow_that_suspends_and_exits_with_7,
    a_command_that_exits_with_0,
    a_command_that_exits_with_7,
    a_command_that_is_missing,
    first_lines_of_the_runs_log,
)
