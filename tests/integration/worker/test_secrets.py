"""A secret that is planted everywhere shows nowhere: not at the server, in files, logs or ps."""

from __future__ import annotations

import io
import shlex
from collections.abc import Iterator

import pytest

from actors.cli import logs
from actors.domain.ids import FlowRunId
from actors.domain.masking import Masker
from actors.keeper.constants import OUTPUT_PREFIX
from actors.prefect_api.settings.profile import load_profile
from tests.integration.keeper.kit import command_line, keepers_of, on_loop
from tests.integration.worker.kit import POOL, Workshop

IN_BLOCK = "block-secret-8d41"
IN_VARIABLE = "variable-secret-2c77"
IN_ENVIRONMENT = "environment-secret-91b3"
API_KEY = "pnu_api-key-5f20"
OF_THE_WORKER = "workers-own-secret-6e0a"
OF_THE_DATABASE = "database-secret-3c9d"
SECRETS = (IN_BLOCK, IN_VARIABLE, IN_ENVIRONMENT, API_KEY, OF_THE_WORKER, OF_THE_DATABASE)

PRINTS = 'for s in "$A" "$B" "$C_PASSWORD" "$PREFECT_API_KEY"; do echo "it is $s!"; done; '


@pytest.fixture
def worker_log() -> Iterator[io.StringIO]:
    """The worker's log as JSON, as the command sets it up."""
    stream = io.StringIO()
    pipe = logs.LogPipe(format="json", level="DEBUG", stream=stream, mask=Masker([API_KEY]).text)
    yield stream
    pipe.close()


def plant(workshop: Workshop, script: str) -> FlowRunId:
    """A run that knows all of the secrets; its id."""
    workshop.server.add_block("secret", "mine", {"value": IN_BLOCK})
    workshop.server.variables["my_token"] = IN_VARIABLE
    return workshop.server.schedule(
        POOL,
        job_variables={
            "command": shlex.join(["sh", "-c", script, "sh", str(workshop.folder)]),
            "env": {
                "A": "{{ prefect.blocks.secret.mine }}",
                "B": "{{ prefect.variables.my_token }}",
                "C_PASSWORD": IN_ENVIRONMENT,
                "PREFECT_API_KEY": API_KEY,
            },
        },
    )


def seen_at_the_server(workshop: Workshop) -> str:
    world = workshop.server
    states = [state for run in world.runs.values() for state in (run.state, *run.history)]
    return repr((states, world.logs, world.events))


def kept_files(workshop: Workshop) -> dict[str, str]:
    """All files but the output itself, which is what the run printed."""
    return {
        str(path): text
        for path, text in workshop.files().items()
        if not path.name.startswith(OUTPUT_PREFIX)
    }


@on_loop
async def test_of_a_run_that_prints_its_secrets_and_crashes(
    workshop: Workshop, worker_log: io.StringIO
) -> None:
    async with workshop.worker(embedded=False):
        run = plant(workshop, PRINTS + "exit 3")
        message = await workshop.crashed(run)
        await workshop.until(lambda: "it is ********!" in workshop.log_of(run))
        await workshop.until(lambda: "run.settled" in worker_log.getvalue())
        assert message.count("it is ********!") == 4
        [keeper] = keepers_of(workshop.state)
        places = {
            "server": seen_at_the_server(workshop),
            "worker's log": worker_log.getvalue(),
            "keeper's ps line": command_line(keeper),
            **kept_files(workshop),
        }
    found = [
        (place, secret) for place, text in places.items() for secret in SECRETS if secret in text
    ]
    assert found == []
    assert "it is ********!" in worker_log.getvalue()


@on_loop
async def test_of_a_run_that_a_later_worker_takes_up(
    workshop: Workshop, worker_log: io.StringIO
) -> None:
    gate = 'echo ready >> "$1"/ready; until [ -e "$1"/gate ]; do sleep 0.02; done; '
    run = plant(workshop, PRINTS + gate + PRINTS + "exit 3")
    async with workshop.worker(embedded=False):
        await workshop.written("ready")
        await workshop.until(lambda: workshop.server.runs[run].run.infrastructure_pid)
    (workshop.folder / "gate").touch()
    async with workshop.worker(embedded=False):
        message = await workshop.crashed(run)
        assert "it is ********!" in message
    places = {
        "server": seen_at_the_server(workshop),
        "worker's log": worker_log.getvalue(),
        **kept_files(workshop),
    }
    found = [
        (place, secret) for place, text in places.items() for secret in SECRETS if secret in text
    ]
    assert found == []


@on_loop
async def test_of_secrets_that_runs_inherit_from_the_worker_and_its_settings(
    workshop: Workshop, worker_log: io.StringIO, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", OF_THE_WORKER)
    database = "PREFECT_SERVER_DATABASE_CONNECTION_URL"
    settings = {database: f"postgresql://prefect:{OF_THE_DATABASE}@db/prefect"}
    script = f'echo "they are $0, $AWS_SECRET_ACCESS_KEY and ${database}!"; exit 3'
    template = {"job_configuration": {"command": "{{ command }} {{ $AWS_SECRET_ACCESS_KEY }}"}}
    await workshop.orchestrator.update_base_job_template(POOL, template)
    prefect = load_profile(settings, cwd=workshop.folder, home=workshop.folder)
    async with workshop.worker(embedded=False, prefect=prefect):
        run = workshop.server.schedule(
            POOL, job_variables={"command": shlex.join(["sh", "-c", script])}
        )
        message = await workshop.crashed(run)
        assert "they are ********, ******** and ********!" in message
        await workshop.until(lambda: "run.settled" in worker_log.getvalue())
    records = [text for text in kept_files(workshop).values() if "they are" in text]
    assert records, "the command is in the record"
    places = {
        "server": seen_at_the_server(workshop),
        "worker's log": worker_log.getvalue(),
        **kept_files(workshop),
    }
    found = [
        (place, secret) for place, text in places.items() for secret in SECRETS if secret in text
    ]
    assert found == []


@on_loop
async def test_of_a_command_that_cannot_be_started(
    workshop: Workshop, worker_log: io.StringIO
) -> None:
    async with workshop.worker(embedded=False):
        workshop.server.add_block("secret", "mine", {"value": IN_BLOCK})
        run = workshop.server.schedule(
            POOL,
            job_variables={"command": "/no/such/{{ prefect.blocks.secret.mine }} --now"},
        )
        message = await workshop.crashed(run)
        assert "/no/such/" in message
    places = {"server": seen_at_the_server(workshop), "log": worker_log.getvalue()}
    assert [
        place for place, text in {**places, **kept_files(workshop)}.items() if IN_BLOCK in text
    ] == []
