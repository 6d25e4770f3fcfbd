"""How replicas share the limit of one key: each has a part of its rate and of its burst.

What no replica has lies in a pool, which fills at the rate of that part. A replica that takes some
of it gets as much of what is in the pool, and one that returns some of its part returns the tokens
in it, so that together they never have more than one bucket. The bans of the key are kept there as
well, with the one replica that may find out whether a ban is over. Pure functions over frozen
values; the times are those of the store's clock.
"""

from __future__ import annotations

from typing import Final

from msgspec import Struct, structs

from autopilot.routing.edge_circuit import EdgeBan

LASTS: Final = 5.0
"""Seconds after which the part of a replica is free that has not renewed it."""

PROBES_FOR: Final = 10.0
"""Seconds for which a replica alone may find out whether a ban is over, unless it says more."""

_MINUTE: Final = 60.0
# A part that grows by no more has only been rounded.
_SMALLEST: Final = 1e-9


class Part(Struct, frozen=True, array_like=True):
    """A replica's ``share`` of the whole, from 0 to 1, which it has to the time ``until``."""

    share: float
    until: float


class SharedBucket(Struct, frozen=True, array_like=True):
    """One key: the ``fill`` of its pool at the time ``at``, in bursts, and the replicas' parts.

    ``ban`` is the last one; ``prober`` is empty or the replica that may probe to the time
    ``probes_until``. A new one is full.
    """

    fill: float = 1.0
    at: float = 0.0
    parts: dict[str, Part] = {}
    ban: EdgeBan | None = None
    is_banned: bool = False
    prober: str = ""
    probes_until: float = 0.0


class Report(Struct, frozen=True):
    """What a replica ``has`` and ``wants`` of the whole; it ``returns`` this much of a burst.

    ``ban`` is one that it has found, ``is_over`` tells that its probe has ended one, and ``probes``
    that it would make a probe, or still waits for its answer.
    """

    replica: str
    has: float
    wants: float
    returns: float = 0.0
    ban: EdgeBan | None = None
    is_over: bool = False
    probes: bool = False


class Granted(Struct, frozen=True):
    """What a replica has from now on: its ``share``, and this ``fill`` more of a burst.

    ``replicas`` are those that have or want a part, this one included.
    """

    share: float
    fill: float
    replicas: int
    ban: EdgeBan | None
    is_banned: bool
    probes: bool


def renewed(bucket: SharedBucket, report: Report, now: float) -> tuple[SharedBucket, Granted]:
    """Return the bucket after a report, and what its replica gets: at most what is free."""
    now = max(now, bucket.at)
    unheld = max(0.0, 1.0 - sum(each.share for each in bucket.parts.values()))
    fill = min(unheld, bucket.fill + (now - bucket.at) * unheld / _MINUTE) + report.returns
    parts = {
        name: part
        for name, part in bucket.parts.items()
        if part.until > now and name != report.replica
    }
    free = max(0.0, 1.0 - sum(each.share for each in parts.values()))
    share = min(report.wants, free)
    grown = share - report.has
    # What it grows by is a part of what it could grow by.
    got = fill * (grown / (free - report.has)) if grown > _SMALLEST else 0.0
    if report.wants > 0.0:
        parts[report.replica] = Part(share, now + LASTS)
    left = max(0.0, min(fill - got, free - share))
    after = _circuit(
        SharedBucket(
            left,
            now,
            parts,
            bucket.ban,
            bucket.is_banned,
            bucket.prober,
            bucket.probes_until,
        ),
        report,
        now,
    )
    probes = after.is_banned and after.prober == report.replica
    return after, Granted(share, got, len(parts), after.ban, after.is_banned, probes)


def _circuit(bucket: SharedBucket, report: Report, now: float) -> SharedBucket:
    """Return the bucket with what a replica has learned of a ban, and with the one that probes."""
    ban, is_banned = bucket.ban, bucket.is_banned
    prober, until = bucket.prober, bucket.probes_until
    if until <= now or (prober == report.replica and not report.probes):
        prober = ""
    if report.ban is not None and (ban is None or report.ban.until > ban.until):
        ban, is_banned, prober = report.ban, True, ""
    elif report.is_over:
        is_banned, prober = False, ""
    if is_banned and ban is not None and ban.until <= now and report.probes:
        prober = prober or report.replica
    if prober == report.replica:
        until = now + PROBES_FOR
    return structs.replace(bucket, ban=ban, is_banned=is_banned, prober=prober, probes_until=until)
