"""How a service that asks the platform again and again lets go of the question in flight."""

from __future__ import annotations

from twisted.internet.defer import Deferred, succeed


def cancelled(in_flight: Deferred[None] | None) -> Deferred[None]:
    """Cancel what is in flight, if anything is. Fires when it has ended, however it did."""
    if in_flight is None:
        return succeed(None)
    ended: Deferred[None] = Deferred()
    in_flight.addBoth(lambda _result: ended.callback(None))
    in_flight.cancel()
    return ended
