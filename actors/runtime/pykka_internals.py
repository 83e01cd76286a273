"""The private names of pykka that a kind of actor needs. They stand in no other file."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar

import pykka
from pykka._envelope import Envelope
from pykka.messages import _ActorStop as StopMessage

if TYPE_CHECKING:
    import threading

    class _Actor:
        """``pykka.Actor`` for the type checker, with hooks that a subclass may make async."""

        actor_inbox: Any
        actor_stopped: threading.Event
        actor_ref: Any
        _actor_ref: Any

        @classmethod
        def start(cls, *args: Any, **kwargs: Any) -> pykka.ActorRef[Any]: ...
        def __init__(self, *args: Any, **kwargs: Any) -> None: ...
        def stop(self) -> None: ...
        def on_start(self) -> Any: ...
        def on_stop(self) -> Any: ...
        def on_failure(self, *args: Any, **kwargs: Any) -> Any: ...
        def _handle_receive(self, message: Any) -> Any: ...
        def _handle_failure(self, *exc_info: Any) -> None: ...

else:
    _Actor = pykka.Actor

__all__ = ["Envelope", "PykkaActor", "StopMessage", "actor_behind"]


class PykkaActor(_Actor):
    """pykka's extension points, under names that a kind of actor may rely on."""

    _actor_inbox_type: ClassVar[Callable[[], Any]]
    _actor_future_type: ClassVar[Callable[[], pykka.Future[Any]]]
    _actor_ref_type: ClassVar[type[pykka.ActorRef[Any]]]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._actor_ref = self._actor_ref_type(self)

    def _actor_begin(self) -> None:
        """Begin to handle messages; the actor is registered by now."""
        raise NotImplementedError

    def _actor_handle(self, message: Any) -> Any:
        """Do what a proxy asks for; hand any other message to ``on_receive``."""
        return super()._handle_receive(message)

    def _actor_failed(self, error: BaseException) -> None:
        """Log the error, unregister the actor and let it take no more messages."""
        self._handle_failure(type(error), error, error.__traceback__)

    @classmethod
    def _create_actor_inbox(cls) -> Any:
        return cls._actor_inbox_type()

    @classmethod
    def _create_future(cls) -> pykka.Future[Any]:
        return cls._actor_future_type()

    def _start_actor_loop(self) -> None:
        self._actor_begin()

    def _handle_receive(self, message: Any) -> Any:
        return self._actor_handle(message)


def actor_behind(ref: pykka.ActorRef[Any]) -> Any:
    """The actor that ``ref`` refers to, for use on its event loop; None when it is gone."""
    return ref._actor_weakref()
