"""Waiting for the first of several verdicts that verifies a key."""

from __future__ import annotations

from collections.abc import Mapping

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from autopilot.attestation.verdicts import Verdict


def first_verified(
    waiting: Mapping[str, Deferred[Verdict]], ended: dict[str, Verdict]
) -> Deferred[None]:
    """Return a Deferred that fires with the first verified one, or when all have ended.

    Verdicts are noted in ``ended`` as they come. It fails as the first that fails. Whatever happens
    first, and when it is cancelled, the others are cancelled.
    """
    left = dict(waiting)

    def give_up() -> None:
        while left:
            left.popitem()[1].cancel()

    first: Deferred[None] = Deferred(lambda _: give_up())

    def land(result: Verdict | Failure, name: str) -> None:
        if left.pop(name, None) is None:
            return
        if isinstance(result, Failure):
            give_up()
            first.errback(result)
            return
        ended[name] = result
        if result.verified is not None or not left:
            give_up()
            first.callback(None)

    for name, each in waiting.items():
        each.addBoth(land, name)
    return first
