"""pykka's Actor as a type checker should see it from here."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pykka

if TYPE_CHECKING:
    import threading
    from types import TracebackType

    from .inbox import Inbox
    from .ref import AsyncioRef

    class PykkaActor:
        """``pykka.Actor`` without its hooks: it declares them plain, so none could be async."""

        actor_urn: str
        actor_inbox: Inbox
        actor_stopped: threading.Event
        _actor_ref: AsyncioRef

        @classmethod
        def start(cls, *args: Any, **kwargs: Any) -> pykka.ActorRef[Any]:
            """Start, register and return a reference."""

        def __init__(self, *args: Any, **kwargs: Any) -> None: ...

        def stop(self) -> None:
            """Tell the actor itself to stop."""

        def on_receive(self, message: Any) -> Any:
            """Handle a message; the result is the answer."""

        def _handle_receive(self, message: Any) -> Any: ...

        def _handle_failure(
            self,
            exception_type: type[BaseException] | None,
            exception_value: BaseException | None,
            traceback: TracebackType | None,
        ) -> None: ...
else:
    PykkaActor = pykka.Actor
