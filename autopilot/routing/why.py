"""Why a model was tried: one closed set for records, traces and the status page."""

from __future__ import annotations

from enum import StrEnum


class Why(StrEnum):
    """What made the router try a model.

    BEST: the ranking, or the measurements that the request asked for. STICKY: the model answered
    this conversation before. LISTED: the client's list. DIRECT: the client named this model alone.
    PROBE: the pause of its circuit breaker is over, and one request shows whether it works again.
    """

    BEST = "best"
    STICKY = "sticky"
    LISTED = "listed"
    DIRECT = "direct"
    PROBE = "probe"
