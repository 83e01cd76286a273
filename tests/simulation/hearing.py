"""What the worker believes of the server's event stream is what is so."""

from __future__ import annotations

from actors.cancellation_watcher.cancellation_watcher import CancellationWatcherView
from actors.event_subscriber import EventSubscriberView

from .invariants import views
from .simulation import Simulation

NOTICED_SECONDS = 5.0
"""How long the end of a stream may go unnoticed by whom it concerns."""


def the_streams_end_is_noticed(sim: Simulation) -> str | None:
    """Nobody relies on events when no subscription is open."""
    quiet = sim.clock.monotonic() > sim.stream.changed_at + NOTICED_SECONDS
    if not quiet or sim.stream.subscriptions or not sim.is_undisturbed(NOTICED_SECONDS):
        return None
    for view in views(sim):
        match view:
            case EventSubscriberView(connected_since=float()):
                return "the EventSubscriber listens to a stream that has ended"
            case CancellationWatcherView(relies_on_events=True):
                return "the CancellationWatcher relies on a stream that has ended"
            case _:
                pass
    return None


def nobody_relies_on_an_unproved_stream(sim: Simulation) -> str | None:
    """A connection alone does not mean that events come over it."""
    if sim.stream.proved or not sim.is_undisturbed(NOTICED_SECONDS):
        return None
    if sim.clock.monotonic() <= sim.stream.changed_at + NOTICED_SECONDS:
        return None
    relies = any(isinstance(v, CancellationWatcherView) and v.relies_on_events for v in views(sim))
    return "the CancellationWatcher relies on a stream that brought nothing" if relies else None


def one_subscription_at_most(sim: Simulation) -> str | None:
    """What a worker leaves is closed, that of killed ones included."""
    count = sim.stream.subscriptions
    quiet = sim.clock.monotonic() > sim.stream.changed_at + NOTICED_SECONDS
    return f"{count} subscriptions are open" if count > 1 and quiet else None
