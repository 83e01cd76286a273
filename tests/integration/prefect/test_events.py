"""The worker's events as they arrive on the server: resources, relations, order."""

from __future__ import annotations

from typing import Any

import pytest

from tests.integration.prefect.gallery import Gallery, Picture
from tests.integration.prefect.kit import Place
from tests.integration.prefect.waiting import until

pytestmark = pytest.mark.series()


def worker_of(place: Place) -> dict[str, str]:
    name = f"worker of {place.pool}"
    return {
        "prefect.resource.id": f"prefect.worker.process.{name.replace(' ', '-')}",
        "prefect.resource.name": name,
        "prefect.worker-type": "process",
        "prefect.version": place.admin.request("GET", "/admin/version"),
    }


def resource(kind: str, id: str, name: str | None = None, **facts: str) -> dict[str, str]:
    made = {
        "prefect.resource.id": f"prefect.{kind}.{id}",
        "prefect.resource.role": kind,
        **{f"prefect.infrastructure.{fact.replace('_', '-')}": facts[fact] for fact in facts},
    }
    return made if name is None else made | {"prefect.resource.name": name}


def related_to(picture: Picture, **facts: str) -> list[dict[str, str]]:
    """Everything that an event about the run relates to, in this order."""
    place, run = picture.place, picture.run
    deployment = place.admin.request("GET", f"/deployments/{run['deployment_id']}")
    flow = place.admin.request("GET", f"/flows/{run['flow_id']}")
    pool = place.read_pool()
    tags = sorted({*deployment["tags"], *flow["tags"], *run["tags"]})
    return [
        resource("deployment", deployment["id"], deployment["name"]),
        resource("flow", flow["id"], flow["name"]),
        resource("flow-run", run["id"], run["name"], **facts),
        *(resource("tag", tag) for tag in tags),
        resource("work-pool", pool["id"], pool["name"]),
    ]


def of_worker(place: Place, kind: str) -> Any:
    """The event of this kind about the worker itself, once it has arrived."""
    worker = worker_of(place)["prefect.resource.id"]

    def found() -> list[Any]:
        events = place.events(resource={"id": [worker]})
        return [event for event in events if event["event"] == f"prefect.worker.{kind}"]

    [event] = until(found)
    return event


def test_a_submitted_run_is_an_event(gallery: Gallery) -> None:
    picture = gallery["succeeds"]
    event = picture.event("submitted")
    assert event["resource"] == worker_of(gallery.place)
    assert event["related"] == related_to(picture)
    assert (event["payload"], event["follows"]) == ({}, None)


@pytest.mark.parametrize(("name", "code"), [("succeeds", "0"), ("is_killed", "-9")])
def test_an_executed_run_is_an_event_that_follows_its_submission(
    gallery: Gallery, name: str, code: str
) -> None:
    picture = gallery[name]
    event = picture.event("executed")
    assert event["resource"] == worker_of(gallery.place)
    assert event["related"] == related_to(picture, identifier=str(picture.pid), status_code=code)
    assert event["follows"] == picture.event("submitted")["id"]


def test_a_cancelled_run_is_an_event_with_its_whole_address(gallery: Gallery) -> None:
    picture = gallery["ignores_sigterm"]
    event = picture.event("cancelled")
    assert event["resource"] == worker_of(gallery.place)
    where = picture.run["infrastructure_pid"]
    assert event["related"] == related_to(picture, identifier=where)


def test_the_start_and_the_stop_of_a_worker_are_events(gallery: Gallery) -> None:
    place = gallery.place
    pool = place.read_pool()
    started, stopped = of_worker(place, "started"), of_worker(place, "stopped")
    for event in (started, stopped):
        assert event["resource"] == worker_of(place)
        assert event["related"] == [resource("work-pool", pool["id"], pool["name"])]
    assert (started["follows"], stopped["follows"]) == (None, started["id"])
