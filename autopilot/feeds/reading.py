"""The reading of a feed's body in steps, between which the reactor serves others."""

from __future__ import annotations

from typing import TypeVar

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime

from autopilot.process.hold_watch import Activity
from autopilot.routing.steps import Steps

_T = TypeVar("_T")


def run_in_steps(
    clock: IReactorTime, activity: Activity, doing: str, steps: Steps[_T]
) -> Deferred[_T]:
    """Run one step now and each further one in a turn of its own; fire with the result.

    Each step is noted in `activity` as `doing`. Cancelling the result ends the computation before
    its next step.
    """
    done: Deferred[_T] = Deferred(lambda _: waiting.cancel())
    waiting: IDelayedCall

    def go_on() -> None:
        nonlocal waiting
        activity.latest = doing, clock.seconds()
        try:
            next(steps)
        except StopIteration as ended:
            done.callback(ended.value)
        except Exception:  # noqa: BLE001  as from `maybeDeferred`
            done.errback()
        else:
            waiting = clock.callLater(0, go_on)

    go_on()
    return done
