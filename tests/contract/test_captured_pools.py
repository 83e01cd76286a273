"""What the worker asks about everything but states, as it was on the wire."""

from __future__ import annotations

import pytest

from actors.domain.errors import NotFound
from actors.domain.ids import FlowId, FlowRunId
from tests.contract.captures import Exchange, captured, replay
from tests.support.http_server import Reply


def name_in(exchange: Exchange) -> str:
    """The last part of the path that was asked for."""
    return str(exchange["path"].rpartition("/")[2])


def run_in(exchange: Exchange) -> FlowRunId:
    return FlowRunId(exchange["path"].split("/")[3])


@captured("pool")
def test_a_pool(exchange: Exchange) -> None:
    raw = exchange["answer"]
    pool, received = replay(exchange, lambda api: api.read_work_pool(raw["name"]))
    assert (pool.id, pool.name, pool.type) == (raw["id"], raw["name"], "process")
    assert pool.base_job_template == raw["base_job_template"]
    assert pool.is_paused is False
    assert received.body == b""


@captured("no pool")
def test_a_pool_that_is_not_there(exchange: Exchange) -> None:
    with pytest.raises(NotFound, match="not found") as caught:
        replay(exchange, lambda api: api.read_work_pool(name_in(exchange)))
    assert caught.value.status == 404


@captured("new pool")
def test_a_pool_that_is_created(exchange: Exchange) -> None:
    asked, raw = exchange["request"], exchange["answer"]
    template = asked.get("base_job_template")
    pool, received = replay(
        exchange, lambda api: api.create_work_pool(asked["name"], asked["type"], template)
    )
    assert received.json == asked
    assert (pool.id, pool.base_job_template) == (raw["id"], raw["base_job_template"])


@captured("template")
def test_a_template_that_is_filled_in(exchange: Exchange) -> None:
    template = exchange["request"]["base_job_template"]
    _, received = replay(
        exchange, lambda api: api.update_base_job_template(name_in(exchange), template)
    )
    assert received.json == exchange["request"]


@captured("heartbeat")
def test_a_heartbeat(exchange: Exchange) -> None:
    asked = exchange["request"]
    seconds = asked["heartbeat_interval_seconds"]
    pool = exchange["path"].split("/")[3]
    _, received = replay(exchange, lambda api: api.send_heartbeat(pool, asked["name"], seconds))
    assert received.json == asked


@captured("process")
def test_where_the_process_is(exchange: Exchange) -> None:
    where = exchange["request"]["infrastructure_pid"]
    _, received = replay(exchange, lambda api: api.set_infrastructure_pid(run_in(exchange), where))
    assert received.json == exchange["request"]


@captured("labels")
def test_labels(exchange: Exchange) -> None:
    known, received = replay(
        exchange, lambda api: api.add_labels(run_in(exchange), exchange["request"])
    )
    assert known is True
    assert received.json == exchange["request"]


@captured("flow")
def test_a_flow(exchange: Exchange) -> None:
    raw = exchange["answer"]
    flow, _ = replay(exchange, lambda api: api.read_flow(FlowId(raw["id"])))
    assert (flow.id, flow.name, list(flow.tags)) == (raw["id"], raw["name"], raw["tags"])


@captured("variable")
def test_a_variable(exchange: Exchange) -> None:
    value, _ = replay(exchange, lambda api: api.read_variable(name_in(exchange)))
    assert value == exchange["answer"]["value"]


@captured("no variable")
def test_a_variable_that_is_not_there(exchange: Exchange) -> None:
    with pytest.raises(NotFound):
        replay(exchange, lambda api: api.read_variable(name_in(exchange)))


@captured("block")
def test_a_block(exchange: Exchange) -> None:
    data, received = replay(
        exchange, lambda api: api.read_block_by_name("secret", name_in(exchange))
    )
    assert data == exchange["answer"]["data"]
    assert received.path.endswith("?include_secrets=true")


@captured("no block")
def test_a_block_that_is_not_there(exchange: Exchange) -> None:
    with pytest.raises(NotFound):
        replay(exchange, lambda api: api.read_block_by_name("secret", name_in(exchange)))


@captured("heartbeat")
def test_a_heartbeat_that_a_busy_server_turned_away_is_sent_again(exchange: Exchange) -> None:
    """As it was seen of 3.0.0: 503, and 204 two seconds later."""
    asked = exchange["request"]
    pool = exchange["path"].split("/")[3]
    busy = exchange | {"status": 503, "answer": None}
    _, received = replay(busy, lambda api: api.send_heartbeat(pool, asked["name"], 8), Reply(204))
    assert received.json == asked
