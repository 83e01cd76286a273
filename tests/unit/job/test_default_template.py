from __future__ import annotations

import json
import re
from typing import Any

import pytest

from actors.domain.record import Limits
from actors.job.configuration import OWN_VARIABLES, default_base_job_template
from actors.job.job import build_job
from actors.job.template import populate, resolve
from tests.support.builders import a_run

STOCK = """{"job_configuration": {"command": "{{ command }}", "env": "{{ env }}",
"labels": "{{ labels }}", "name": "{{ name }}", "stream_output": "{{ stream_output }}",
"working_dir": "{{ working_dir }}"}, "variables": {"properties": {
"name": {"anyOf": [{"type": "string"}, {"type": "null"}], "default": null,
"title": "Name"},
"env": {"additionalProperties": {"anyOf": [{"type": "string"}, {"type": "null"}]},
"title": "Environment Variables", "type": "object"},
"labels": {"additionalProperties": {"type": "string"},
"title": "Labels", "type": "object"},
"command": {"anyOf": [{"type": "string"}, {"type": "null"}], "default": null,
"title": "Command"},
"stream_output": {"default": true, "title": "Stream Output", "type": "boolean"},
"working_dir": {"anyOf": [{"format": "path", "type": "string"}, {"type": "null"}],
"default": null, "title": "Working Directory"}}, "type": "object"}}"""
"""What workers 3.0.0, 3.1.15 and 3.8.8 send, without the descriptions."""


def without_our_own(template: dict[str, Any]) -> dict[str, Any]:
    for name in OWN_VARIABLES:
        del template["job_configuration"][name]
        del template["variables"]["properties"][name]
    for variable in template["variables"]["properties"].values():
        del variable["description"]
    return template


def test_the_part_that_is_prefects_has_its_names_types_and_defaults_in_its_order() -> None:
    ours = json.dumps(without_our_own(default_base_job_template()))
    assert ours == json.dumps(json.loads(STOCK))


@pytest.mark.parametrize("name", OWN_VARIABLES)
def test_each_variable_of_our_own_is_described_and_has_a_default(name: str) -> None:
    template = default_base_job_template()
    variable = template["variables"]["properties"][name]
    assert template["job_configuration"][name] == f"{{{{ {name} }}}}"
    assert variable["title"]
    assert variable["description"].endswith(".")
    assert "default" in variable
    assert "type" in variable or "anyOf" in variable


def test_every_placeholder_is_declared_as_servers_demand() -> None:
    template = default_base_job_template()
    used = re.findall(r"{{ (\w+) }}", json.dumps(template["job_configuration"]))
    assert sorted(used) == sorted(template["variables"]["properties"])


def test_the_defaults_give_a_job_like_any_other() -> None:
    populated = populate(default_base_job_template(), {}, {}, environ={})
    job = build_job(resolve(populated, {}), run=a_run(), flow=None, engine_python="python")
    values = job.configuration
    assert values.limits == Limits()
    assert (values.stream_output, values.report_states, values.warm_start) == (True, False, None)


def test_each_copy_is_fresh() -> None:
    default_base_job_template()["variables"]["properties"].clear()
    assert default_base_job_template()["variables"]["properties"]
