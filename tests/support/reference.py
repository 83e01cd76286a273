"""What people read about the settings, written from the settings themselves.

``python -m tests.support.reference`` writes it anew: the table of the README's options and
``config/actor-worker.toml``. A test fails while they differ.
"""

from __future__ import annotations

import json
import re
import textwrap
from pathlib import Path

from actors.settings.option import Section, Setting
from actors.settings.worker_settings import all_settings

ROOT = Path(__file__).resolve().parents[2]
README = ROOT / "README.rst"
EXAMPLE = ROOT / "config" / "actor-worker.toml"
WIDTH = 99

HEAD = """\
# Settings of actor-worker, for `actor-worker start --config FILE`.
#
# Every setting is here with its default; take the # away from what you change. The command line
# and ACTOR_WORKER_* in the environment are stronger than this file, Prefect's own settings weaker.
# Relative paths count from the folder the worker is started in.
"""

_TABLE = re.compile(r"(?<=\n)=+  =+\noption .*?\n=+  =+\n.*?\n=+  =+\n", re.DOTALL)


def example_file() -> str:
    """The settings file with every setting, each as a comment."""
    return HEAD + "".join(_example_section(section) for section in Section)


def _example_section(section: Section) -> str:
    entries = [
        _entry(setting)
        for setting in all_settings()
        if setting.option.section == section and setting.field != "config"
    ]
    return f"\n{f'# -- {section} '.ljust(WIDTH, '-')}\n" + "".join(entries)


def _entry(setting: Setting) -> str:
    value = setting.option.example if setting.default is None else setting.default
    words = _words(setting, choices=True, default=setting.default in (None, ()))
    comment = textwrap.wrap(words, WIDTH, initial_indent="# ", subsequent_indent="# ")
    return "\n".join(["", *comment, f"#{setting.field} = {json.dumps(value)}", ""])


def options_table() -> str:
    """The README's table of the command line's options."""
    rows = [
        (_literal(setting), _words(setting, choices=False, default=True))
        for setting in all_settings()
        if not setting.option.hidden
    ]
    first = max(len(name) for name, _ in rows)
    second = WIDTH + 2 - first - 2
    border = f"{'=' * first}  {'=' * second}"
    lines = [border, f"{'option'.ljust(first)}  meaning", border]
    for name, words in rows:
        meaning = textwrap.wrap(words, second)
        lines += [f"{left:{first}}  {part}" for left, part in zip([name], meaning, strict=False)]
        lines += [f"{'':{first}}  {part}" for part in meaning[1:]]
    return "\n".join([*lines, border, ""])


def _literal(setting: Setting) -> str:
    name = setting.option_name
    if setting.kind is bool:
        name = f"--[no-]{name.removeprefix('--')}"
    short = f"{setting.option.short}, " if setting.option.short else ""
    value = setting.option.metavar or "|".join(setting.choices)
    return f"``{short}{name}{f' {value}' if value else ''}``"


def _words(setting: Setting, *, choices: bool, default: bool) -> str:
    words = setting.option.help
    if choices and setting.choices and not setting.option.metavar:
        words += f" One of {', '.join(map(json.dumps, setting.choices))}."
    if not choices and setting.kind is tuple:
        words += " May be repeated."
    if default and setting.default_text:
        words += f" Default: {setting.default_text}."
    elif default and setting.field == "pool":
        words += " Required."
    return words


def with_table(readme: str) -> str:
    """``readme`` with the table of options as it is to be."""
    text, tables = _TABLE.subn(lambda _: options_table(), readme, count=1)
    assert tables == 1
    return text


def main() -> None:
    """Write both files."""
    EXAMPLE.write_text(example_file(), encoding="utf-8")
    README.write_text(with_table(README.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main()
