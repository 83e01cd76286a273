"""How people see and give a setting: what a model's field carries beside its type and default."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from types import NoneType, UnionType
from typing import Annotated, Any, Concatenate, Literal, ParamSpec, Union, get_args, get_origin

from pydantic import BaseModel, Field


class Section(StrEnum):
    """The sections of the help, the README's table and the example file."""

    TAKING = "What to run"
    RUNNING = "How to run it"
    STOPPING = "Stopping and state"
    SHOWING = "Seeing what happens"


@dataclass(frozen=True, slots=True)
class Option:
    """How people see a setting."""

    section: Section
    help: str
    unset: str = ""
    """What holds without the setting, where its default is None or empty."""
    metavar: str = ""
    """What the option's value is called; choices and switches need none."""
    short: str = ""
    """A short name of the option, such as ``-p``."""
    name: str = ""
    """The option's name where it does not follow from the setting's."""
    prefect: str = ""
    """The weaker source: a field of PrefectProfile."""
    example: object = None
    """A value for the example file, where there is no default to show."""
    hidden: bool = False
    """Whether there is no option on the command line."""


P = ParamSpec("P")


def as_field(option: Callable[P, Option]) -> Callable[Concatenate[object, P], Any]:
    """A function that makes a field with an option, from its default and the option's arguments.

    The default of a required field is ``...``.
    """

    def field(default: object, /, *args: P.args, **kwargs: P.kwargs) -> Any:
        info: Any = Field(default)  # a FieldInfo
        info.metadata.append(option(*args, **kwargs))
        return info

    return field


@dataclass(frozen=True, slots=True)
class Setting:
    """One field of a model of settings, as people give it."""

    field: str
    kind: type
    """The type of its value: bool, int, float, tuple, or a text."""
    choices: tuple[str, ...]
    default: Any
    option: Option

    @property
    def option_name(self) -> str:
        """The long name of its command-line option."""
        return "--" + (self.option.name or self.field.replace("_", "-"))

    @property
    def default_text(self) -> str:
        """What holds without it, in words; empty where the setting is required or has none."""
        match self.default:
            case None | ():
                text = self.option.unset
            case bool():
                text = "yes" if self.default else "no"
            case float():
                text = f"{self.default:g}"
            case _:
                text = str(self.default)
        return f"{text}, or {self.prefect_variable}" if self.option.prefect else text

    @property
    def prefect_variable(self) -> str:
        """The setting of Prefect's that is a weaker source of this one."""
        return f"PREFECT_{self.option.prefect.upper()}"


def settings_of(model: type[BaseModel]) -> Iterator[Setting]:
    """The fields of ``model`` that have an :class:`Option`, in their order."""
    for name, info in model.model_fields.items():
        [option] = [item for item in info.metadata if isinstance(item, Option)]
        kind, choices = _kind_of(info.annotation)
        default = None if info.is_required() else info.default
        yield Setting(name, kind, choices, default, option)


def _kind_of(annotation: Any) -> tuple[type, tuple[str, ...]]:
    """The type behind ``X | None`` and ``Annotated``, and the choices that it leaves."""
    while get_origin(annotation) in (Union, UnionType, Annotated):
        annotation = next(item for item in get_args(annotation) if item is not NoneType)
    if get_origin(annotation) is Literal:
        return str, get_args(annotation)
    kind: type = get_origin(annotation) or annotation
    return kind, tuple(map(str, kind)) if issubclass(kind, StrEnum) else ()
