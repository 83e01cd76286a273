"""What stands in for the blocks and variables that a configuration refers to."""

from __future__ import annotations

from typing import Any

import pytest

from actors.domain.errors import InvalidJob
from actors.job.template import BlockIdRef, BlockRef, Reference, VariableRef, references, resolve
from tests.unit.job.templates import DATABASE, SECRET, TIER


def resolved(value: Any, values: dict[Reference, Any]) -> Any:
    return resolve({"x": value}, values).configuration.get("x", "<dropped>")


BLOCKS: dict[Reference, Any] = {
    SECRET: {"value": "s3cr3t-value"},
    DATABASE: {"host": "db.local", "ports": [5432, 5433], "auth": {"password": "hunter22"}},
    BlockRef("json", "cfg"): {"value": {"a": {"b": 1}, "values": "plural"}},
    BlockIdRef("1234"): {"value": "by-id"},
}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{{ prefect.blocks.secret.db }}", "s3cr3t-value"),
        ("{{ prefect.blocks.secret.db.value }}", "s3cr3t-value"),
        ("{{ prefect.blocks.database.main.ports[1] }}", 5433),
        ("{{ prefect.blocks.database.main.auth }}", {"password": "hunter22"}),
        ("{{ prefect.blocks.json.cfg.a.b }}", 1),
        ("{{ prefect.blocks.json.cfg.value.a.b }}", 1),
        ("{{ prefect.blocks.json.cfg.values }}", "plural"),
        (
            "{{ prefect.blocks.database.main.host }}:{{ prefect.blocks.database.main.ports[0] }}",
            "db.local:5432",
        ),
        ({"$ref": {"block_document_id": "1234"}}, {"value": "by-id"}),
        ({"a": ["{{ prefect.blocks.secret.db }}"]}, {"a": ["s3cr3t-value"]}),
        ({"$ref": "nothing special"}, {"$ref": "nothing special"}),
    ],
)
def test_how_a_block_is_put_in(text: Any, expected: Any) -> None:
    assert resolved(text, BLOCKS) == expected


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("{{ prefect.blocks.secret.nosuch }}", "block 'nosuch' of type 'secret' does not exist"),
        ({"$ref": {"block_document_id": "99"}}, "block 99 does not exist"),
        ("{{ prefect.blocks.database.main.nosuch }}", "has no value"),
        ("{{ prefect.blocks.secret }}", "does not name a block"),
        ("x{{ prefect.blocks.database.main.auth }}", "only plain values"),
    ],
)
def test_a_block_that_cannot_be_put_in_is_refused(text: Any, complaint: str) -> None:
    with pytest.raises(InvalidJob, match=complaint):
        resolved(text, BLOCKS)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{{ prefect.variables.tier }}", {"level": [1]}),
        ("a {{ prefect.variables.tier }}", "a {'level': [1]}"),
        ("{{ prefect.variables.nosuch }}", ""),
        ("a{{ prefect.variables.nosuch }}b", "ab"),
    ],
)
def test_how_a_variable_is_put_in(text: str, expected: Any) -> None:
    assert resolved(text, {TIER: {"level": [1]}}) == expected


def test_a_variable_named_in_a_blocks_data_is_asked_for_and_put_in() -> None:
    populated = {"x": "{{ prefect.blocks.secret.db }}"}
    block = {"value": "pre-{{ prefect.variables.tier }}"}
    assert references(populated, {}) == {SECRET}
    assert references(populated, {SECRET: block}) == {SECRET, TIER}
    assert resolve(populated, {SECRET: block, TIER: "gold"}).configuration == {"x": "pre-gold"}


def test_references_are_found_everywhere_and_named_once() -> None:
    populated = {
        "a": ["{{ prefect.blocks.secret.db }} {{ prefect.blocks.secret.db.value }}"],
        "b": {
            "c": {"$ref": {"block_document_id": "1234"}},
            "d": "{{ prefect.variables.tier }}",
        },
        "e": "{{ plain }} {{ $HOME }}",
    }
    assert references(populated, {}) == {SECRET, BlockIdRef("1234"), TIER}


def test_what_came_from_blocks_is_secret_whole_blocks_and_nested_texts() -> None:
    result = resolve({"x": "{{ prefect.blocks.database.main.host }}"}, BLOCKS)
    assert result.secrets == {"db.local", "hunter22"}


def test_variables_are_secret_only_when_named_so() -> None:
    values: dict[Reference, Any] = {TIER: "golden", VariableRef("api_token"): "abcdef"}
    text = "{{ prefect.variables.tier }} {{ prefect.variables.api_token }}"
    assert resolve({"x": text}, values).secrets == {"abcdef"}
