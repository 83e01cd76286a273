from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.domain.errors import InvalidJob
from actors.job.environment import run_environment
from tests.support.builders import DEPLOYMENT, FLOW, a_run


def environment(**changes: Any) -> dict[str, str]:
    arguments: dict[str, Any] = {
        "base": {},
        "prefect_settings": {},
        "run": a_run(),
        "deployment": DEPLOYMENT,
        "flow": FLOW,
        "worker_name": "Cap Worker",
        "job_env": {},
    }
    return run_environment(**(arguments | changes))


def test_a_run_is_told_whose_it_is() -> None:
    assert environment() == {
        "PREFECT__FLOW_RUN_ID": "run-id",
        "PREFECT__FLOW_ID": "flow-id",
        "PREFECT__FLOW_NAME": "hello",
        "PREFECT__DEPLOYMENT_ID": "deployment-id",
        "PREFECT__DEPLOYMENT_NAME": "d-run",
        "PREFECT__WORKER_NAME": "Cap Worker",
    }


def test_a_run_without_a_deployment_is_told_of_none() -> None:
    told = environment(run=a_run(deployment_id=None), deployment=None, flow=None)
    assert sorted(told) == ["PREFECT__FLOW_ID", "PREFECT__FLOW_RUN_ID", "PREFECT__WORKER_NAME"]


def test_the_layers_from_lowest_to_highest() -> None:
    told = environment(
        base={"A": "base", "B": "base", "C": "base"},
        prefect_settings={"B": "settings", "C": "settings"},
        job_env={"C": "job"},
    )
    assert [told[name] for name in "ABC"] == ["base", "settings", "job"]


def test_the_jobs_env_wins_over_settings_and_attribution() -> None:
    told = environment(
        prefect_settings={"PREFECT_API_URL": "http://worker"},
        job_env={"PREFECT_API_URL": "http://job", "PREFECT__FLOW_NAME": "other"},
    )
    assert told["PREFECT_API_URL"] == "http://job"
    assert told["PREFECT__FLOW_NAME"] == "other"


def test_null_takes_back_a_setting_but_nothing_inherited() -> None:
    told = environment(
        base={"HOME": "/home/user", "PREFECT_API_URL": "inherited"},
        prefect_settings={"PREFECT_API_URL": "set", "PREFECT_API_KEY": "set"},
        job_env={"HOME": None, "PREFECT_API_URL": None, "PREFECT_API_KEY": None, "NEW": None},
    )
    assert told["HOME"] == "/home/user"
    assert told["PREFECT_API_URL"] == "inherited"
    assert "PREFECT_API_KEY" not in told
    assert "NEW" not in told


@pytest.mark.parametrize(
    "name",
    [
        "NOTIFY_SOCKET",
        "WATCHDOG_PID",
        "WATCHDOG_USEC",
        "LISTEN_PID",
        "LISTEN_FDS",
        "LISTEN_FDNAMES",
        "ACTOR_WORKER_STATE_DIR",
        "ACTOR_WORKER_RUN",
        "PREFECT__CONTROL_TOKEN",
        "PREFECT__STORAGE_BASE_PATH",
    ],
)
def test_what_is_meant_for_the_worker_alone_does_not_reach_a_run(name: str) -> None:
    assert name not in environment(base={name: "x"})
    assert environment(base={name: "x"}, job_env={name: "y"})[name] == "y"


@pytest.mark.parametrize("name", ["LISTEN_PORT", "WATCHDOG_TIMEOUT", "PREFECT_HOME", "PATH"])
def test_what_only_looks_like_it_does(name: str) -> None:
    assert environment(base={name: "x"})[name] == "x"


@pytest.mark.parametrize("name", ["A=B", "A\0", "", "\ud800"])
def test_a_name_that_no_environment_can_hold_is_refused(name: str) -> None:
    with pytest.raises(InvalidJob, match="cannot be the name"):
        environment(job_env={name: "x"})


@pytest.mark.parametrize("value", ["s3cr3t\0", "s3cr3t\ud800"])
def test_a_value_that_no_environment_can_hold_is_refused_and_not_shown(value: str) -> None:
    with pytest.raises(InvalidJob, match="value of 'KEY'") as refusal:
        environment(job_env={"KEY": value})
    assert "s3cr3t" not in str(refusal.value)


def test_bytes_that_are_no_unicode_pass_through() -> None:
    undecodable = b"\xff".decode("utf-8", "surrogateescape")
    assert environment(job_env={"A": undecodable})["A"] == undecodable


@given(st.dictionaries(st.text(max_size=5), st.none() | st.text(max_size=5)))
def test_whatever_is_not_refused_can_be_passed_to_a_process(job_env: Any) -> None:
    try:
        told = environment(job_env=job_env)
    except InvalidJob:
        return
    for name, value in told.items():
        assert name
        assert "=" not in name
        assert b"\0" not in name.encode() + value.encode()
