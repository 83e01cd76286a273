"""Who may import whom: fails on an arrow that runs the wrong way, a circle, and a dead module.

A part of the house is a folder of ``actors/``, or a file directly in it: an actor by itself.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.imports import PACKAGE, Arrow, arrows, circles, graph, modules

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Part:
    """What one part of the house may import beside the standard library and itself."""

    house: frozenset[str] = frozenset()
    libraries: frozenset[str] = frozenset()


def part(house: str = "", libraries: str = "") -> Part:
    return Part(frozenset(house.split()), frozenset(libraries.split()))


LOGGING = "structlog"

ACTOR = part(house="domain job messages runtime", libraries=LOGGING)
"""An actor knows the language and the nouns, never an adapter and never another actor."""

ACTORS = frozenset(
    {
        "deliveries",
        "deletion_watcher",
        "cancellation_watcher",
        "dispatcher",
        "event_subscriber",
        "guardian",
        "health_reporter",
        "heartbeater",
        "journal_pruner",
        "memory_watcher",
        "periodic_actor",
        "poller",
        "process_supervisor",
        "service_notifier",
    }
)

ADAPTERS = frozenset({"prefect_api", "processes", "journal", "web"})

RULES: dict[str, Part] = {
    "domain": part(libraries="pydantic pydantic_core"),
    "job": part(house="domain", libraries="pydantic pydantic_core"),
    "runtime": part(libraries="pykka"),
    "messages": part(house="domain runtime"),
    **dict.fromkeys(ACTORS, ACTOR),
    **dict.fromkeys(
        (
            "cancellation_watcher",
            "deletion_watcher",
            "heartbeater",
            "journal_pruner",
            "memory_watcher",
            "poller",
            "service_notifier",
        ),
        part(house="domain job messages periodic_actor runtime", libraries=LOGGING),
    ),
    "process_supervisor.machine": part(house="domain"),
    "prefect_api": part(
        house="domain messages",
        libraries=f"{LOGGING} dotenv pydantic pydantic_core requests slugify urllib3 websockets",
    ),
    "processes": part(house="domain keeper messages", libraries=f"{LOGGING} psutil pydantic"),
    "journal": part(house="domain keeper messages", libraries=f"{LOGGING} pydantic"),
    "web": part(house="domain messages", libraries=f"{LOGGING} h11"),
    "keeper": part(libraries="keeper"),  # its own name, when started isolated
    "testing": part(house="domain messages runtime"),
    "settings": part(
        house="domain job messages prefect_api",
        libraries="pydantic pydantic_core pydantic_settings",
    ),
    "app": part(
        house=" ".join(
            ["domain", "job", "messages", "runtime", "settings", *sorted(ACTORS | ADAPTERS)]
        ),
        libraries=f"{LOGGING} platformdirs psutil pydantic slugify",
    ),
    "cli": part(
        house="app domain runtime settings",
        libraries=f"{LOGGING} click platformdirs psutil requests urllib3",
    ),
}

COMPOSITION_ROOT = ("actors.app.system", "actors.app.wiring")
"""The only modules of ``app`` that know actors; an actor meets an adapter there."""

FACADES = {"actors": {"app", "messages", "settings"}, "actors.__main__": {"cli"}}
"""The doors of the library and of the command: they may reach further than a part."""

DATA = {"actors.job.engine_start", "actors.job.hook_program"} | {
    f"actors.cli.quickstart.{name}" for name in ("sample_flows", "sample_runs", "prefect_server")
}
"""For the interpreter that has Prefect to load; no module of ours imports them."""

STARTED = {"actors.__main__", "actors.keeper.__main__", "actors.cli.main"}
"""Modules that a person or a program starts."""

EXCEPTIONS: set[str] = set()
"""Arrows that run the wrong way and are to be turned. Nothing may join them."""


def part_of(module: str) -> str:
    """The part that a module of ours belongs to: the longest name in the rules that fits."""
    inner = module.split(".")[1:]
    for length in range(len(inner), 0, -1):
        if (name := ".".join(inner[:length])) in RULES:
            return name
    return ""


def violations(root: Path) -> list[str]:
    return [
        f"{arrow}: {reason}"
        for name, path in modules(root).items()
        if name not in DATA
        for arrow in arrows(path, root)
        if (reason := reason_against(arrow)) is not None
        and f"{arrow.source} -> {arrow.target}" not in EXCEPTIONS
    ]


def reason_against(arrow: Arrow) -> str | None:
    own = part_of(arrow.source)
    rule = RULES.get(own, Part())
    top = arrow.target.split(".")[0]
    if arrow.target in DATA:
        return "this file is data, nothing of ours imports it"
    if top != PACKAGE:
        if top in sys.stdlib_module_names or top in rule.libraries:
            return None
        return f"{own} does not use the library {top}"
    target = part_of(arrow.target)
    inside = target == own or target.startswith(f"{own}.")
    if inside or target in rule.house or target in FACADES.get(arrow.source, ()):
        if own == "app" and target in ACTORS and arrow.source not in COMPOSITION_ROOT:
            return f"actors are known to {' and '.join(COMPOSITION_ROOT)} only"
        return None
    return f"{own or PACKAGE} does not import from {target or PACKAGE}"


def unused(imports: Mapping[str, Iterable[str]], root: Path) -> list[str]:
    """Modules that nobody imports and nobody starts."""
    imported = {target for targets in imports.values() for target in targets}
    return [
        name
        for name, path in modules(root).items()
        if path.name != "__init__.py"
        and name not in imported | STARTED | DATA
        and part_of(name) != "testing"  # the users' own tests import those
    ]


def test_every_import_runs_the_right_way() -> None:
    assert violations(ROOT) == []


def test_no_modules_import_each_other_in_a_circle() -> None:
    assert circles(graph(ROOT)) == []


def test_every_module_is_imported_or_started() -> None:
    assert unused(graph(ROOT), ROOT) == []


def test_every_part_has_a_rule() -> None:
    folders = {path.name for path in (ROOT / PACKAGE).iterdir() if (path / "__init__.py").exists()}
    files = {path.stem for path in (ROOT / PACKAGE).glob("*.py")} - {"__init__", "__main__"}
    assert folders | files <= set(RULES)


@pytest.mark.parametrize(
    ("file", "statement"),
    [
        ("domain/a.py", "import pykka"),
        ("domain/a.py", "from ..messages import poller"),
        ("job/a.py", "from ..prefect_api import client"),
        ("runtime/a.py", "from actors.domain import ids"),
        ("runtime/a.py", "import structlog"),
        ("heartbeater.py", "from .prefect_api import client"),
        ("heartbeater.py", "from .poller import Poller"),
        ("heartbeater.py", "import requests"),
        ("process_supervisor/a.py", "from ..dispatcher import admission"),
        ("process_supervisor/machine/a.py", "from ...messages import poller"),
        ("prefect_api/a.py", "from ..processes import launcher"),
        ("prefect_api/a.py", "from ..poller import Poller"),
        ("keeper/a.py", "import psutil"),
        ("keeper/a.py", "from ..domain import ids"),
        ("keeper/a.py", "def f():\n    from .. import processes"),
        ("web/a.py", "import prefect"),
        ("app/a.py", "from prefect import flow"),
        ("app/a.py", "from ..poller import Poller"),
        ("cli/a.py", "from ..poller import Poller"),
        ("cli/a.py", "from .quickstart.sample_flows import succeeds"),
        ("messages/a.py", "from ..settings.settings import Settings"),
        ("testing/a.py", "from ..processes import launcher"),
    ],
)
def test_a_wrong_arrow_is_seen(tmp_path: Path, file: str, statement: str) -> None:
    needed = ["poller/__init__.py", "processes/launcher.py", "cli/quickstart/sample_flows.py"]
    for each in (file, *needed):
        target = tmp_path / PACKAGE / each
        target.parent.mkdir(parents=True, exist_ok=True)
        target.touch()
    (tmp_path / PACKAGE / file).write_text(statement)
    assert len(violations(tmp_path)) == 1


@pytest.mark.parametrize(
    ("file", "statement"),
    [
        (
            "heartbeater.py",
            "from .messages.heartbeater import PoolSynced\nfrom .runtime import actor",
        ),
        ("app/system.py", "from ..poller import Poller\nfrom ..web import health"),
        ("cli/main.py", "from ..app.system import ActorSystem\nimport click"),
        ("keeper/a.py", "import selectors\nfrom . import protocol"),
        ("cli/quickstart/sample_flows.py", "from prefect import flow"),
        ("__init__.py", "from .app.system import ActorSystem"),
    ],
)
def test_a_right_arrow_is_left_alone(tmp_path: Path, file: str, statement: str) -> None:
    target = tmp_path / PACKAGE / file
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(statement)
    assert violations(tmp_path) == []


def test_a_circle_is_seen() -> None:
    imports = {"a": {"b"}, "b": {"c"}, "c": {"b"}, "d": {"a"}}
    assert circles(imports) == [["b", "c"]]
