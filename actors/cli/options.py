"""The options of ``actor-worker start``, made from the settings, in the sections of its help.

No option has a default here: what is not given is left to the other sources of settings.
"""

from __future__ import annotations

from typing import Any

import click

from ..settings.option import Section, Setting
from ..settings.worker_settings import all_settings


class SectionOption(click.Option):
    """An option that knows its section of the help."""

    def __init__(self, *args: Any, section: str, **kwargs: Any) -> None:
        super().__init__(*args, default=None, **kwargs)
        self.section = section


def start_options() -> list[SectionOption]:
    """The settings as options, and those of Prefect's worker that set nothing here."""
    return [
        *(_option(setting) for setting in all_settings() if not setting.option.hidden),
        SectionOption(
            ["--install-policy"],
            section=Section.RUNNING,
            type=click.Choice(["always", "if-not-present", "never", "prompt"]),
            help="Accepted for compatibility, without effect: this worker needs nothing installed"
            " for its type.",
        ),
    ]


def _option(setting: Setting) -> SectionOption:
    option, name = setting.option, setting.option_name
    switch, several = setting.kind is bool, setting.kind is tuple
    default = setting.default_text
    if switch:
        default = ("" if setting.default else "no-") + name.removeprefix("--")
        name = f"{name}/--no-{name.removeprefix('--')}"
    choice = click.Choice(setting.choices) if setting.choices and not option.metavar else None
    number = setting.kind if setting.kind in (int, float) else None
    return SectionOption(
        [*filter(None, [option.short]), name, setting.field],
        section=option.section,
        help=option.help
        + (" May be repeated." if several else "")
        + (f"  [default: {default}]" if default else ""),
        is_flag=switch or None,
        multiple=several,
        type=choice or number,
        metavar=option.metavar or None,
    )
