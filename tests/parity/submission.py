"""Between a due run and its process: code, environment, folders, limits, second offers."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

from actors.job.configuration import default_base_job_template
from tests.integration.prefect.flow_programs import write_flows
from tests.integration.prefect.kit import shell
from tests.integration.prefect.waiting import until
from tests.parity.sides import LONG, Side


def code_in_a_storage_block(side: Side) -> str:
    place = side.place
    code = place.folder / "kept"
    write_flows(code)
    name = f"code-{place.pool.split()[1]}"
    block = place.admin.create_block("local-file-system", name, {"basepath": str(code)})
    run = place.admin.create_run(
        place.deploy(
            flow_id=place.admin.create_flow("succeeds"),
            entrypoint="flows.py:succeeds",
            storage_document_id=block,
            job_variables={"env": {"NOTES": str(place.folder)}},
        )
    )
    with side.worker():
        return side.state_after(run)


def a_deployment_that_is_deleted_under_a_run(side: Side) -> str:
    """While the run is suspended: of a deployment that is deleted, scheduled runs are, too."""
    place = side.place
    deployment = place.deploy(shell('touch "$1"/started', str(place.folder)))
    run = place.admin.create_run(deployment)
    suspended = {"name": "Suspended", "state_details": {"pause_reschedule": True}}
    place.admin.set_state(run, "PAUSED", force=True, **suspended)
    place.admin.request("DELETE", f"/deployments/{deployment}")
    place.admin.set_state(run, "SCHEDULED", name="Resuming", force=True)
    with side.worker():
        words = side.in_words(run) if _ends(side, run) else side.place.state(run)["name"]
    started = "started" if (place.folder / "started").exists() else "not started"
    return f"{words} ({started})"


def _ends(side: Side, run: str) -> bool:
    side.state_after(run, patience=30)
    return side.has_ended(run)


def _printed(side: Side, run: str) -> str:
    with side.worker(variables={"PREFECT_LOGGING_LEVEL": "ERROR"}):
        side.over(run)
    return "; ".join(side.place.started_by("seen"))


def env_of_pool_deployment_and_run(side: Side) -> str:
    place = side.place
    template = default_base_job_template()
    template["variables"]["properties"]["env"]["default"] = dict.fromkeys("ABC", "pool")
    place.change_pool(base_job_template=template)
    show = shell('echo $A, $B, $C > "$1"/seen', str(place.folder))
    deployment = place.deploy(show, job_variables={"env": dict.fromkeys("BC", "deployment")})
    run = place.admin.create_run(deployment, job_variables={"env": {"C": "run"}})
    return _printed(side, run)


def the_jobs_env_and_a_setting_of_the_worker(side: Side) -> str:
    """The worker has PREFECT_LOGGING_LEVEL=ERROR, the job of a command DEBUG."""
    show = shell('echo $PREFECT_LOGGING_LEVEL > "$1"/seen', str(side.place.folder))
    return _printed(side, side.place.run(show, env={"PREFECT_LOGGING_LEVEL": "DEBUG"}))


def a_command_with_quotes(side: Side) -> str:
    script = side.place.folder / "count"
    script.write_text(f'#!/bin/sh\necho $# > "{side.place.folder}/seen"\n')
    script.chmod(0o755)
    return _printed(side, side.place.run(f"{script} 'one word'  two")) + " arguments"


def the_temporary_working_directory(side: Side) -> str:
    run = side.place.run(shell('pwd > "$1"/seen', str(side.place.folder)))
    with side.worker():
        side.over(run)
        [folder] = side.place.started_by("seen")
        there = Path(folder).exists()
    return f"{Path(folder).name[-7:]}; {'still there' if there else 'removed'}"


def a_missing_working_directory(side: Side) -> str:
    run = side.place.run("true", working_dir=str(side.place.folder / "nowhere"))
    with side.worker():
        return side.in_words(run).replace(str(side.place.folder), "")


def a_flows_child_imports_the_projects_module(side: Side) -> str:
    run = side.project_flow("asks_a_child")
    with side.worker():
        side.over(run)
    return "; ".join(side.place.started_by("child"))


def a_run_offered_again_while_its_process_lives(side: Side) -> str:
    """Suspended and resumed by somebody else."""
    place = side.place
    run = side.project_flow("outlasts_its_suspension")
    with side.worker():
        until(lambda: place.started_by("processes"), patience=LONG)
        until(lambda: place.state(run)["type"] == "RUNNING")
        suspended = {"name": "Suspended", "state_details": {"pause_reschedule": True}}
        place.admin.set_state(run, "PAUSED", force=True, **suspended)
        place.admin.request("POST", f"/flow_runs/{run}/resume", {})
        late = place.run(shell('touch "$1"/later', str(place.folder)))
        until(lambda: (place.folder / "later").exists(), patience=LONG)
        beside = _second_process(side)
        (place.folder / "go").touch()
        state = side.state_after(run, patience=60)
        side.over(late)
    number = len(place.started_by("processes"))
    return f"{beside} beside the first; {number} in all; {state}"


def _second_process(side: Side) -> str:
    """An engine has written its pid some seconds after it was started."""
    try:
        until(lambda: len(side.place.started_by("processes")) > 1, patience=20)
    except AssertionError:
        return "none"
    return "a second process"


def a_full_deployment_holds_the_second_run_back(side: Side) -> str:
    place = side.place
    script = 'mkdir "$1"/only && sleep 3 && rmdir "$1"/only && echo ran >> "$1"/ran'
    deployment = place.deploy(
        shell(script, str(place.folder)),
        concurrency_limit=1,
        concurrency_options={"collision_strategy": "ENQUEUE"},
        job_variables={"report_states": True},
    )
    runs = [place.admin.create_run(deployment) for _ in range(2)]
    with side.worker():
        ends = [side.over(run, patience=60) for run in runs]
    return f"{' and '.join(ends)}; {len(place.started_by('ran'))} ran alone"


def prefetch_of_a_command(side: Side) -> str:
    place = side.place
    due = datetime.now(UTC) + timedelta(seconds=70)
    script = shell('date +%s > "$1"/at', str(place.folder))
    run = place.admin.create_run(place.deploy(script), due=due)
    with side.worker():
        side.over(run)
    early = due.timestamp() - int(place.started_by("at")[0])
    return f"starts {early:.0f} s early" if early > 1 else "starts when it is due"


SCENARIOS = (
    code_in_a_storage_block,
    a_deployment_that_is_deleted_under_a_run,
    env_of_pool_deployment_and_run,
    the_jobs_env_and_a_setting_of_the_worker,
    a_command_with_quotes,
    the_temporary_working_directory,
    a_missing_working_directory,
    a_flows_child_imports_the_projects_module,
    a_run_offered_again_while_its_process_lives,
    a_full_deployment_holds_the_second_run_back,
    prefetch_of_a_command,
)
