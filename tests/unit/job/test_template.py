"""How a base job template is filled in: what wins over what, and placeholders."""

from __future__ import annotations

from typing import Any

import pytest

from actors.domain.errors import InvalidJob
from tests.unit.job.templates import configuration, pool


def env_of(*args: Any, **kwargs: Any) -> Any:
    return configuration(*args, **kwargs)["env"]


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
