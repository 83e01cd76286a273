"""A process worker for Prefect work pools, built from actors.

What programs use: :class:`ActorSystem` (the worker as a library), :class:`Settings` (what it is
to do), :class:`ProcessWorker` (the interface of Prefect 3.0's worker class) and
:mod:`actors.messages` (the language of its actors). They are imported when first asked for, so
that ``import actors`` costs nothing.
"""

# Nothing is imported here, not even typing or __future__: ``python -m actors`` would take it from
# the working directory, which it leaves in actors/__main__.py.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from . import messages
    from .app.process_worker import ProcessWorker
    from .app.system import ActorSystem
    from .settings.settings import Settings

__all__ = ["ActorSystem", "ProcessWorker", "Settings", "messages"]

_HOMES = {
    "ActorSystem": "app.system",
    "ProcessWorker": "app.process_worker",
    "Settings": "settings.settings",
}


def __getattr__(name: str) -> object:
    import importlib

    if name == "messages":
        return importlib.import_module(".messages", __name__)
    if name in _HOMES:
        return getattr(importlib.import_module(f".{_HOMES[name]}", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
