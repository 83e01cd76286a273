"""Templates for tests, and references that stand in them."""

from __future__ import annotations

from typing import Any

from actors.job.template import BlockRef, VariableRef, populate

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
