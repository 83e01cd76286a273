from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.domain.errors import InvalidJob
from actors.job.template import (
    BlockIdRef,
    BlockRef,
    Reference,
    VariableRef,
    populate,
    references,
    resolve,
)

STOCK_ENV = "{{ env }}"
SECRET = BlockRef("secret", "db")
DATABASE = BlockRef("database", "main")
TIER = VariableRef("tier")


def pool(env: Any = STOCK_ENV, **properties: Any) -> dict[str, Any]:
    """A template with the given ``env`` and the defaults of further variables."""
    return {
        "job_configuration": {"command": "{{ command }}", "env": env, "extra": "{{ extra }}"},
        "variables": {
            "type": "object",
            "properties": {name: {"default": value} for name, value in properties.items()},
        },
    }


def configuration(
    template: dict[str, Any],
    deployment: dict[str, Any] | None = None,
    run: dict[str, Any] | None = None,
    environ: dict[str, str] | None = None,
) -> Any:
    return populate(template, deployment, run, environ=environ or {})


def env_of(*args: Any, **kwargs: Any) -> Any:
    return configuration(*args, **kwargs)["env"]


def resolved(value: Any, values: dict[Reference, Any]) -> Any:
    return resolve({"x": value}, values).configuration.get("x", "<dropped>")


# --- merging ----------------------------------------------------------------------------------


def test_two_env_objects_are_merged_and_the_runs_entries_win() -> None:
    env = env_of(pool(), {"env": {"A": "1", "B": "1"}}, {"env": {"B": "2", "C": "2"}})
    assert env == {"A": "1", "B": "2", "C": "2"}


def test_any_other_variable_of_the_run_replaces_the_deployments() -> None:
    merged = configuration(pool(), {"extra": {"a": 1}}, {"extra": {"b": 2}})
    assert merged["extra"] == {"b": 2}


def test_without_an_env_object_in_the_deployment_the_runs_env_stands_alone() -> None:
    template = pool(env="{{ env }}")
    assert env_of(template, {"env": None}, {"env": {"A": "1"}}) == {"A": "1"}
    assert env_of(template, None, {"env": {"A": "1"}}) == {"A": "1"}


def test_a_null_env_of_the_run_leaves_the_deployments() -> None:
    assert env_of(pool(), {"env": {"A": "1"}}, {"env": None}) == {"A": "1"}


def test_a_default_of_null_is_no_default() -> None:
    assert "extra" not in configuration(pool(extra=None))


def test_a_default_serves_where_no_job_variable_does() -> None:
    assert configuration(pool(extra=5))["extra"] == 5
    assert configuration(pool(extra=5), {"extra": 6})["extra"] == 6


def test_template_env_then_default_env_then_job_env() -> None:
    template = pool(env={"A": "tpl", "B": "tpl", "C": "tpl"}, env_=1)
    template["variables"]["properties"]["env"] = {"default": {"B": "dflt", "C": "dflt"}}
    assert env_of(template, {"env": {"C": "job"}}) == {"A": "tpl", "B": "dflt", "C": "job"}


def test_a_default_env_stands_in_for_a_template_env_that_is_no_object() -> None:
    template = pool()
    template["variables"]["properties"]["env"] = {"default": {"A": "dflt"}}
    assert env_of(template, {"env": {"B": "job"}}) == {"A": "dflt", "B": "job"}


def test_env_that_cannot_be_merged_is_refused() -> None:
    with pytest.raises(InvalidJob, match="'env' must be an object"):
        configuration(pool(env={"A": "tpl"}), {"env": "text"})


def test_what_prefect_38_made_of_a_pool_with_env_of_its_own() -> None:
    template = pool(
        env={
            "TPL": "fixed",
            "HOMEV": "{{ $HOME }}",
            "EMB": "a-{{ tier }}-b",
            "MISSING": "{{ undefined_here }}",
        },
        tier="gold",
        env_=None,
    )
    template["variables"]["properties"]["env"] = {"default": {"DFLT": "d", "TPL": "from-default"}}
    deployment = {
        "env": {
            "TPL": "from-deployment",
            "DEP_HOME": "{{ $HOME }}",
            "DEP_TIER": "{{ tier }}",
            "DEP_LIT": "{{ nosuch }}",
        }
    }
    run = {"env": {"FROM_RUN": "1", "TPL": "from-run"}}
    assert env_of(template, deployment, run, {"HOME": "/home/user"}) == {
        "TPL": "from-run",
        "HOMEV": "/home/user",
        "EMB": "a-gold-b",
        "DFLT": "d",
        "DEP_HOME": "/home/user",
        "DEP_TIER": "gold",
        "FROM_RUN": "1",
    }


def test_dotted_keys_are_entries_of_objects() -> None:
    assert env_of(pool(), {"env.A": "1", "env.B": "2"}) == {"A": "1", "B": "2"}


def test_what_is_written_nested_wins_over_dotted_keys() -> None:
    assert env_of(pool(), {"env": {"A": "nested"}}, {"env.A": "dotted", "env.B": "2"}) == {
        "A": "nested",
        "B": "2",
    }
    assert configuration(pool(), {"extra.a": 1, "extra": "text"})["extra"] == "text"


def test_a_dotted_key_through_a_plain_value_is_refused() -> None:
    with pytest.raises(InvalidJob, match=r"'extra\.a\.b' contradicts"):
        configuration(pool(), {"extra.a": 1, "extra.a.b": 2})


def test_a_dotted_key_into_anothers_object_leaves_that_object_alone() -> None:
    given_value = {"a": 1}
    merged = configuration(pool(), {"extra.x": given_value, "extra.x.b": 2})
    assert merged["extra"] == {"x": {"a": 1, "b": 2}}
    assert given_value == {"a": 1}


def test_an_empty_template_stands_for_the_default_one() -> None:
    merged = configuration({}, {"command": "true"})
    assert merged["command"] == "true"
    assert merged["stream_output"] is True


@pytest.mark.parametrize("broken", [{"job_configuration": 5}, {"variables": ["x"]}])
def test_a_template_without_form_is_refused(broken: dict[str, Any]) -> None:
    with pytest.raises(InvalidJob, match="base job template is broken"):
        configuration(broken)


def test_the_workers_own_variables_need_no_mention_in_the_template() -> None:
    merged = configuration(pool(), {"timeout_seconds": 5}, {"kill_signal": "SIGINT"})
    assert (merged["timeout_seconds"], merged["kill_signal"]) == (5, "SIGINT")
    assert "nice" not in merged


def test_a_template_that_mentions_the_workers_own_variables_is_followed() -> None:
    template = pool()
    template["job_configuration"]["timeout_seconds"] = 60
    assert configuration(template, {"timeout_seconds": 5})["timeout_seconds"] == 60


# --- placeholders -----------------------------------------------------------------------------

VALUES = {"extra": "E", "n": 7, "obj": {"a": [{"b": "deep"}]}, "flag": False, "nothing": None}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("plain", "plain"),
        ("{{ n }}", 7),
        ("{{n}}", 7),
        ("{{ flag }}", False),
        ("{{ obj }}", {"a": [{"b": "deep"}]}),
        ("{{ obj.a[0].b }}", "deep"),
        ("{{ obj.a.0.b }}", "deep"),
        ("{{ nothing }}", None),
        ("{{ nosuch }}", "<dropped>"),
        ("{{ obj.a[3] }}", "<dropped>"),
        ("{{ extra.deeper }}", "<dropped>"),
        ("<{{ n }}>", "<7>"),
        (" {{ n }}", " 7"),
        ("{{ n }}{{ n }}", "77"),
        ("{{ nothing }}!", "None!"),
        ("<{{ nosuch }}>", "<>"),
        ("{{ obj.a }}!", "[{'b': 'deep'}]!"),
        ("{{ $HOME }}", "/home/user"),
        ("{{ $HOME }}/bin", "/home/user/bin"),
        ("{{ $NOSUCH }}", ""),
        ("{{ two words }}", "{{ two words }}"),
        ("{{ prefect.blocks.secret.db }}", "{{ prefect.blocks.secret.db }}"),
        ("{{ n }} {{ prefect.variables.tier }}", "7 {{ prefect.variables.tier }}"),
        (5, 5),
        (None, None),
        (["{{ n }}", "{{ nosuch }}", "x"], [7, "x"]),
        ({"{{ n }}": "{{ n }}", "b": "{{ nosuch }}"}, {"{{ n }}": 7}),
    ],
)
def test_how_a_template_value_is_filled_in(text: Any, expected: Any) -> None:
    template = {"job_configuration": {"x": text}}
    filled = configuration(template, dict(VALUES), environ={"HOME": "/home/user"})
    assert filled.get("x", "<dropped>") == expected


def test_values_are_not_searched_for_plain_placeholders() -> None:
    env = env_of(pool(), {"env": {"A": "{{ extra }}", "B": "{{ $HOME }}"}, "extra": "x"})
    assert env == {"A": "{{ extra }}", "B": "{{ $HOME }}"}


# --- blocks -----------------------------------------------------------------------------------

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


# --- variables --------------------------------------------------------------------------------


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


# --- secrets ----------------------------------------------------------------------------------


def test_what_came_from_blocks_is_secret_whole_blocks_and_nested_texts() -> None:
    result = resolve({"x": "{{ prefect.blocks.database.main.host }}"}, BLOCKS)
    assert result.secrets == {"db.local", "hunter22"}


def test_variables_are_secret_only_when_named_so() -> None:
    values: dict[Reference, Any] = {TIER: "golden", VariableRef("api_token"): "abcdef"}
    text = "{{ prefect.variables.tier }} {{ prefect.variables.api_token }}"
    assert resolve({"x": text}, values).secrets == {"abcdef"}


# --- properties -------------------------------------------------------------------------------

names = st.sampled_from(["env", "a", "b", "a.b", "env.X", "command", "extra"])
placeholders = st.sampled_from(
    [
        "{{ a }}",
        "{{ a.b }}",
        "{{ b[0] }}",
        "{{ $HOME }}",
        "{{ prefect.blocks.secret.db }}",
        "{{ prefect.variables.tier }}",
        "{{ nosuch }}",
        "text",
        " ",
    ]
)
texts = st.lists(placeholders, max_size=3).map("".join)
trees = st.recursive(
    st.one_of(texts, st.integers(), st.booleans(), st.none()),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=3),
    max_leaves=8,
)
objects = st.dictionaries(names, trees, max_size=4)


@given(job_configuration=objects, defaults=objects, deployment=objects, run=objects)
def test_whatever_is_passed_in_is_left_as_it_was(
    job_configuration: Any, defaults: Any, deployment: Any, run: Any
) -> None:
    template = {
        "job_configuration": job_configuration,
        "variables": {"properties": {name: {"default": v} for name, v in defaults.items()}},
    }
    before = copy.deepcopy((template, deployment, run))
    try:
        populated = populate(template, deployment, run, environ={"HOME": "/h"})
        resolve(populated, {SECRET: {"value": "v"}, TIER: 1})
    except InvalidJob:
        pass
    assert (template, deployment, run) == before


@given(tree=trees)
def test_a_resolved_configuration_needs_nothing_any_more(tree: Any) -> None:
    values: dict[Reference, Any] = {SECRET: {"value": "v"}, TIER: "gold"}
    result = resolve({"x": tree}, values)
    assert references(result.configuration, {}) == frozenset()


@given(tree=trees)
def test_a_configuration_without_placeholders_comes_out_as_it_went_in(tree: Any) -> None:
    def clean(value: Any) -> Any:
        match value:
            case str():
                return value.replace("{", "").replace("}", "")
            case dict():
                return {key: clean(item) for key, item in value.items()}
            case list():
                return [clean(item) for item in value]
        return value

    bare = {"job_configuration": {"x": clean(tree)}}
    assert configuration(bare)["x"] == clean(tree)
