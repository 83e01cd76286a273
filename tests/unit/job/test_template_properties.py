"""What is true of any template and any job variables."""

from __future__ import annotations

import copy
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from actors.domain.errors import InvalidJob
from actors.job.template import Reference, populate, references, resolve
from tests.unit.job.templates import SECRET, TIER, configuration

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
