"""Why a model was tried, and whether its conversation knew it: closed sets for all outputs."""

from __future__ import annotations

from enum import StrEnum


class Why(StrEnum):
    """What made the router try a model.

    BEST: the ranking, or the measurements that the request asked for. STICKY: the model answered
    this conversation before. LISTED: the client's list. DIRECT: the client named this model alone.
    ROUTE: the route that the client named.
    LAST_RESORT: no candidate was left but the default models of other services.
    PROBE: the pause of its circuit breaker is over, and one request shows whether it works again.
    """

    __hash__ = str.__hash__  # of an enum it is a call of Python

    BEST = "best"
    STICKY = "sticky"
    LISTED = "listed"
    DIRECT = "direct"
    PROBE = "probe"
    ROUTE = "route"
    LAST_RESORT = "last_resort"


class Affinity(StrEnum):
    """How the answering model relates to the one that the conversation remembered (contract §5).

    HIT: it is that one. MISS: none was remembered, or it is no candidate any more. MOVED: another.
    """

    HIT = "hit"
    MISS = "miss"
    MOVED = "moved"


class AffinityWhy(StrEnum):
    """Why a conversation has another model than before, or none that it had before.

    A miss: NEW, nothing was remembered; EXPIRED, for longer than ``STICKY_TTL_SECS``; FAILED, the
    model that was remembered failed; GONE, it is no candidate. Moved: FAILED, COOLING, or LISTED,
    the client's list or route names another one first; in private mode also GONE, another instance
    of the model has answered. OFF: the conversation was not to stick.
    """

    __hash__ = str.__hash__  # of an enum it is a call of Python

    NEW = "new"
    EXPIRED = "expired"
    FAILED = "failed"
    GONE = "gone"
    COOLING = "cooling"
    LISTED = "listed"
    OFF = "off"


# A member is found faster as a name of a module than by its enum.
HIT, MISS, MOVED = Affinity.HIT, Affinity.MISS, Affinity.MOVED
NEW, EXPIRED, FAILED = AffinityWhy.NEW, AffinityWhy.EXPIRED, AffinityWhy.FAILED
GONE, OFF = AffinityWhy.GONE, AffinityWhy.OFF
