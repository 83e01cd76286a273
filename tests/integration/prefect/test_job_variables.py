"""Where job variables come from, what they may name, and what a process gets to see of them."""

from __future__ import annotations

import copy
import socket
from typing import Any

import pytest

from actors.job.configuration import default_base_job_template
from tests.integration.prefect.kit import Place, shell

EVERY_SERIES = pytest.mark.series()

SHOW = shell("env -0 > environment")


def template(**changes: Any) -> dict[str, Any]:
    """The default base job template; ``env=default(...)`` gives that variable a default."""
    made = copy.deepcopy(default_base_job_template())
    for name, change in changes.items():
        made["variables"]["properties"][name] |= change
    return made


def environment(place: Place) -> dict[str, str]:
    """What a run of SHOW saw."""
    text = (place.folder / "environment").read_text()
    return dict(entry.split("=", 1) for entry in text.split("\0") if entry)


def seen(
    place: Place,
    *,
    deployment: dict[str, Any],
    run: dict[str, Any] | None = None,
    variables: dict[str, str] | None = None,
    **fields: Any,
) -> dict[str, str]:
    """The environment of a run with these job variables; it has to complete."""
    job = {"working_dir": str(place.folder), "report_states": True} | deployment
    run_id = place.admin.create_run(
        place.deploy(SHOW, job_variables=job, **fields), job_variables=run or {}
    )
    with place.worker(variables=variables):
        state = place.state_once(run_id)
    assert state["type"] == "COMPLETED", state["message"]
    return environment(place) | {"run": run_id}


@EVERY_SERIES
def test_env_comes_from_pool_deployment_and_run_and_the_nearer_wins(bare_place: Place) -> None:
    place = bare_place
    defaults = {"A": "pool", "B": "pool", "C": "pool"}
    place.create_pool(base_job_template=template(env={"default": defaults}))
    got = seen(
        place,
        deployment={"env": {"B": "deployment", "C": "deployment"}},
        run={"env": {"C": "run", "D": "run"}},
    )
    assert [got.get(name) for name in "ABCD"] == ["pool", "deployment", "run", "run"]


def test_the_template_of_the_pool_may_fix_variables(bare_place: Place) -> None:
    place = bare_place
    fixed = template()
    fixed["job_configuration"]["env"] = {"FIXED": "by the pool", "NAMED": "{{ name }}"}
    place.create_pool(base_job_template=fixed)
    got = seen(place, deployment={"env": {"MINE": "1"}, "name": "a name"})
    assert (got["FIXED"], got["MINE"], got["NAMED"]) == ("by the pool", "1", "a name")


@EVERY_SERIES
def test_a_process_is_told_what_it_runs_and_for_whom(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("INHERITED_BY_ALL", "yes")
    monkeypatch.setenv("NOTIFY_SOCKET", "/not/for/runs")
    got = seen(place, deployment={}, variables={"PREFECT_LOGGING_LEVEL": "ERROR"})
    run = place.admin.read_run(got["run"])
    flow = place.admin.request("GET", f"/flows/{run['flow_id']}")
    deployment = place.admin.request("GET", f"/deployments/{run['deployment_id']}")
    assert {name: got.get(name) for name in (
        "PREFECT__FLOW_RUN_ID", "PREFECT__FLOW_ID", "PREFECT__FLOW_NAME",
        "PREFECT__DEPLOYMENT_ID", "PREFECT__DEPLOYMENT_NAME", "PREFECT__WORKER_NAME",
        "PREFECT_API_URL", "PREFECT_LOGGING_LEVEL", "INHERITED_BY_ALL", "NOTIFY_SOCKET",
    )} == {
        "PREFECT__FLOW_RUN_ID": run["id"],
        "PREFECT__FLOW_ID": flow["id"],
        "PREFECT__FLOW_NAME": flow["name"],
        "PREFECT__DEPLOYMENT_ID": deployment["id"],
        "PREFECT__DEPLOYMENT_NAME": deployment["name"],
        "PREFECT__WORKER_NAME": f"worker of {place.pool}",
        "PREFECT_API_URL": place.server.api_url,
        "PREFECT_LOGGING_LEVEL": "ERROR",
        "INHERITED_BY_ALL": "yes",
        "NOTIFY_SOCKET": None,
    }  # fmt: skip


def test_the_jobs_env_wins_over_the_workers_settings(place: Place) -> None:
    got = seen(
        place,
        deployment={"env": {"PREFECT_LOGGING_LEVEL": "DEBUG"}},
        variables={"PREFECT_LOGGING_LEVEL": "ERROR"},
    )
    assert got["PREFECT_LOGGING_LEVEL"] == "DEBUG"


def test_null_takes_back_a_setting_and_nothing_that_is_inherited(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("INHERITED_BY_ALL", "yes")
    got = seen(
        place,
        deployment={"env": {"PREFECT_LOGGING_LEVEL": None, "INHERITED_BY_ALL": None}},
        variables={"PREFECT_LOGGING_LEVEL": "ERROR"},
    )
    assert "PREFECT_LOGGING_LEVEL" not in got
    assert got["INHERITED_BY_ALL"] == "yes"


def test_a_dotted_variable_is_one_of_the_object_before_the_dot(place: Place) -> None:
    got = seen(place, deployment={"env": {"A": "whole"}}, run={"env.B": "dotted"})
    assert (got["A"], got["B"]) == ("whole", "dotted")


@EVERY_SERIES
def test_blocks_and_variables_are_filled_in_whole_and_within_a_text(place: Place) -> None:
    suffix = place.pool.split()[1]
    secret, variable, mapping = f"secret-{suffix}", f"text_{suffix}", f"map_{suffix}"
    place.admin.create_block("secret", secret, {"value": "s3cr3t"})
    place.admin.create_variable(variable, "from a variable")
    got_mapping = place.server_series != (3, 0)
    place.admin.create_variable(mapping, {"a": [1, "two"]} if got_mapping else "text")
    env = {
        "SECRET": f"{{{{ prefect.blocks.secret.{secret} }}}}",
        "EMBEDDED": f"user:{{{{ prefect.blocks.secret.{secret} }}}}@host",
        "TEXT": f"{{{{ prefect.variables.{variable} }}}}",
        "WITHIN": f"it comes {{{{ prefect.variables.{variable} }}}}!",
        "MISSING": f"<{{{{ prefect.variables.no_{variable} }}}}>",
        "MAPPING": f"{{{{ prefect.variables.{mapping} }}}}",
        "LITERAL": "{{ $HOME }} {{ unknown }}",
    }
    got = seen(place, deployment={"env": env})
    assert {name: got[name] for name in env} == {
        "SECRET": "s3cr3t",
        "EMBEDDED": "user:s3cr3t@host",
        "TEXT": "from a variable",
        "WITHIN": "it comes from a variable!",
        "MISSING": "<>",
        "MAPPING": "{'a': [1, 'two']}" if got_mapping else "text",
        "LITERAL": "{{ $HOME }} {{ unknown }}",
    }


def test_a_block_that_does_not_exist_is_a_crash_that_names_it(place: Place) -> None:
    run = place.run("true", env={"A": "{{ prefect.blocks.secret.no-such-block }}"})
    with place.worker():
        state = place.state_once(run)
    assert state["type"] == "CRASHED"
    assert "no-such-block" in state["message"]


def test_a_secret_from_a_block_is_masked_where_it_is_printed(place: Place) -> None:
    name = f"secret-{place.pool.split()[1]}"
    place.admin.create_block("secret", name, {"value": "hush-hush-value"})
    env = {"TOKEN": f"{{{{ prefect.blocks.secret.{name} }}}}"}
    run = place.run(shell("echo the token is $TOKEN; exit 1"), env=env)
    with place.worker_program() as worker:
        message = place.state_once(run)["message"]
        worker.said("the token is")
    assert "the token is" in message
    assert "hush-hush-value" not in message + worker.printed


def test_each_run_gets_the_values_of_its_time(place: Place) -> None:
    name = f"changing_{place.pool.split()[1]}"
    place.admin.create_variable(name, "old")
    env = {"VARIABLE": f"{{{{ prefect.variables.{name} }}}}", "OF_DEPLOYMENT": "old"}
    job = {"working_dir": str(place.folder), "report_states": True, "command": SHOW, "env": env}
    deployment = place.deploy(job_variables=job)
    with place.worker():
        place.state_once(place.admin.create_run(deployment))
        before = environment(place)
        place.admin.request("PATCH", f"/variables/name/{name}", {"value": "new"})
        job["env"] = env | {"OF_DEPLOYMENT": "new"}
        place.admin.request("PATCH", f"/deployments/{deployment}", {"job_variables": job})
        place.state_once(place.admin.create_run(deployment))
        after = environment(place)
    assert [(seen["VARIABLE"], seen["OF_DEPLOYMENT"]) for seen in (before, after)] == [
        ("old", "old"),
        ("new", "new"),
    ]


def test_the_process_is_on_the_host_that_the_server_is_told(place: Place) -> None:
    run = place.run(shell('echo $$ > "$1"/pid', str(place.folder)), report_states=True)
    with place.worker():
        place.state_once(run)
    [pid] = place.started_by("pid")
    assert place.admin.read_run(run)["infrastructure_pid"] == f"{socket.gethostname()}:{pid}"
