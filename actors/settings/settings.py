"""A worker's settings from all their sources.

The first source that has a value wins: the command line (or the arguments of :class:`Settings`),
``ACTOR_WORKER_*`` in the environment, the TOML file that ``--config`` or ``ACTOR_WORKER_CONFIG``
names, Prefect's own settings (``PREFECT_*``, ``profiles.toml``), and the defaults.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import Field, ValidationError
from pydantic_settings import (
    BaseSettings,
    InitSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from ..prefect_api.settings.profile import PrefectProfile
from .sources import ENV_PREFIX, explain, from_prefect, read_file
from .worker_settings import WorkerSettings, all_settings


class Settings(WorkerSettings, BaseSettings):
    """The settings of one worker. SettingsError is raised for a wrong value, with its source."""

    model_config = SettingsConfigDict(
        env_prefix=ENV_PREFIX, env_ignore_empty=True, enable_decoding=False
    )

    prefect: PrefectProfile = Field(exclude=True)
    """Prefect's own settings: the server's address, credentials, timeouts."""

    def __init__(self, **values: Any) -> None:
        try:
            super().__init__(**values)
        except ValidationError as error:
            raise explain(error, type(self).model_fields, values, self._argument) from None

    @staticmethod
    def _argument(field: str) -> str:
        """How the caller gave ``field``, in the words of an error message."""
        return f"{field} (argument of Settings)"

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """The sources, strongest first."""
        given = env_settings() | init_settings()
        config = given.get("config")
        file = {} if config is None else read_file(Path(config))
        return (
            init_settings,
            env_settings,
            InitSettingsSource(settings_cls, file),
            InitSettingsSource(settings_cls, from_prefect(given.get("prefect"))),
        )


class CommandLineSettings(Settings):
    """Settings whose arguments are options of the command line."""

    @staticmethod
    def _argument(field: str) -> str:
        names = {setting.field: setting.option_name for setting in all_settings()}
        return f"{names[field]} (command line)"
