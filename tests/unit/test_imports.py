"""Who may import whom: fails on an arrow that runs the wrong way.

The parts of the house are the folders of ``actors/``; the files directly in it are the actors.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = "actors"


@dataclass(frozen=True)
class Part:
    """What one part of the house may import beside the standard library and itself."""

    house: frozenset[str] = frozenset()
    libraries: frozenset[str] = frozenset()


def part(house: str = "", libraries: str = "") -> Part:
    return Part(frozenset(house.split()), frozenset(libraries.split()))


ACTORS = "actors"
"""The part made of the files directly in the package."""

LOGGING = "structlog"

RULES = {
    "domain": part(libraries="pydantic pydantic_core"),
    "runtime": part(libraries="pykka"),
    "messages": part(house="domain runtime"),
    "parts": part(house="domain messages runtime", libraries=LOGGING),
    ACTORS: part(house="domain messages runtime parts", libraries=LOGGING),
    "orchestrator": part(
        house="domain messages",
        libraries=f"{LOGGING} dotenv pydantic pydantic_core requests slugify urllib3 websockets",
    ),
    "processes": part(
        house="domain messages processes.keeper",
        libraries=f"{LOGGING} platformdirs psutil pydantic",
    ),
    "processes.keeper": part(libraries="keeper"),  # its own name, when started isolated
    "processes.warm_host": part(),
    "web": part(house="domain messages", libraries=f"{LOGGING} h11"),
    "testing": part(house="domain messages runtime"),
    "app": part(
        house=f"domain messages runtime parts orchestrator processes web {ACTORS}",
        libraries=f"{LOGGING} click platformdirs psutil pydantic pydantic_core"
        " pydantic_settings requests slugify urllib3",
    ),
}

COMPOSITION_ROOT = ("actors.app.system", "actors.app.wiring")
"""The only modules of ``app`` that know actors; an actor meets an adapter there."""

FACADES = {"actors": {"app"}, "actors.__main__": {"app"}}
"""Modules that may reach further than their part: the door of the library and of the command."""

DATA = {"actors.cli.quickstart.sample_flows", "actors.cli.quickstart.prefect_server"}
"""For the interpreter that has Prefect to load; no module of ours imports them."""


@dataclass(frozen=True)
class Arrow:
    source: str
    target: str
    line: int

    def __str__(self) -> str:
        return f"{self.source} (line {self.line}) imports {self.target}"


def name_of(path: Path, root: Path) -> str:
    parts = path.relative_to(root).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def arrows(path: Path, root: Path) -> Iterator[Arrow]:
    """Every import statement of a file, wherever in the file it stands; relative ones resolved."""
    source = name_of(path, root)
    package = source if path.name == "__init__.py" else source.rpartition(".")[0]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield Arrow(source, alias.name, node.lineno)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                ancestors = package.split(".")
                anchor = ancestors[: len(ancestors) - (node.level - 1)]
                base = ".".join([*anchor, base] if base else anchor)
            for alias in node.names:
                # "from .. import domain" names a module, "from ..domain import x" a thing in it
                name = f"{base}.{alias.name}"
                inside = (root / Path(*name.split("."))).with_suffix(".py").exists() or (
                    root / Path(*name.split("."))
                ).is_dir()
                yield Arrow(source, name if inside else base, node.lineno)


def part_of(module: str) -> str:
    """The part a module of ours belongs to: the longest name in the rules that fits."""
    inner = module.split(".")[1:]
    for length in range(len(inner), 0, -1):
        if (name := ".".join(inner[:length])) in RULES:
            return name
    return ACTORS


def violations(root: Path) -> list[str]:
    return [
        f"{arrow}: {complaint}"
        for path in sorted((root / PACKAGE).rglob("*.py"))
        if name_of(path, root) not in DATA
        for arrow in arrows(path, root)
        if (complaint := complaint_about(arrow)) is not None
    ]


def complaint_about(arrow: Arrow) -> str | None:
    own = part_of(arrow.source)
    rule = RULES[own]
    top = arrow.target.split(".")[0]
    if arrow.target in DATA:
        return "this file is data, nothing of ours imports it"
    if top != PACKAGE:
        if top in sys.stdlib_module_names or top in rule.libraries:
            return None
        return f"{own} does not use the library {top}"
    target = part_of(arrow.target)
    if target == own or target in rule.house or target in FACADES.get(arrow.source, ()):
        if own == "app" and target == ACTORS and not composes(arrow):
            return f"actors are known to {' and '.join(COMPOSITION_ROOT)} only"
        return None
    return f"{own} does not import from {target}"


def composes(arrow: Arrow) -> bool:
    """Whether this may name an actor: the composition root, or the library's own door."""
    return arrow.source in COMPOSITION_ROOT or arrow.target == PACKAGE


def test_every_import_runs_the_right_way() -> None:
    assert violations(ROOT) == []


def test_every_folder_of_the_package_has_a_rule() -> None:
    folders = {path.name for path in (ROOT / PACKAGE).iterdir() if (path / "__init__.py").exists()}
    assert folders <= set(RULES)


@pytest.mark.parametrize(
    ("file", "statement"),
    [
        ("domain/a.py", "import pykka"),
        ("domain/a.py", "from ..messages import runs"),
        ("runtime/a.py", "from actors.domain import ids"),
        ("runtime/a.py", "import structlog"),
        ("poller.py", "from .orchestrator.api import Api"),
        ("poller.py", "import requests"),
        ("orchestrator/a.py", "from ..processes import launcher"),
        ("orchestrator/a.py", "from .. import poller"),
        ("orchestrator/a.py", "from ..poller import Poller"),
        ("processes/keeper/a.py", "import psutil"),
        ("processes/keeper/a.py", "from ...domain import ids"),
        ("processes/keeper/a.py", "def f():\n    from .. import launcher"),
        ("web/a.py", "import prefect"),
        ("app/a.py", "from prefect import flow"),
        ("app/cli.py", "from ..poller import Poller"),
        ("app/cli.py", "from .quickstart.sample_flows import succeeds"),
        ("messages/a.py", "from ..app.settings import Settings"),
        ("testing/a.py", "from ..processes import launcher"),
    ],
)
def test_a_wrong_arrow_is_seen(tmp_path: Path, file: str, statement: str) -> None:
    for needed in (file, "poller.py", "processes/launcher.py", "app/quickstart/sample_flows.py"):
        target = tmp_path / PACKAGE / needed
        target.parent.mkdir(parents=True, exist_ok=True)
        target.touch()
    (tmp_path / PACKAGE / file).write_text(statement)
    assert len(violations(tmp_path)) == 1


@pytest.mark.parametrize(
    ("file", "statement"),
    [
        ("poller.py", "from .messages.runs import DueRuns\nfrom .runtime import actor"),
        ("app/system.py", "from ..poller import Poller\nfrom ..web import health"),
        ("app/cli.py", "from .system import ActorSystem\nimport click"),
        ("processes/keeper/a.py", "import selectors\nfrom . import protocol"),
        ("app/quickstart/sample_flows.py", "from prefect import flow"),
        ("__init__.py", "from .app.system import ActorSystem"),
    ],
)
def test_a_right_arrow_is_left_alone(tmp_path: Path, file: str, statement: str) -> None:
    target = tmp_path / PACKAGE / file
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(statement)
    assert violations(tmp_path) == []
