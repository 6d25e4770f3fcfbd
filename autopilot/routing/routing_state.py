"""What the router itself has observed of models and of a conversation, for a plan."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from msgspec import Struct

from autopilot.routing.why import AffinityWhy

UNMEASURED: Final[Mapping[str, float]] = MappingProxyType({})
"""The averages of no model."""


class RoutingState(Struct, frozen=True, gc=False):
    """The router's own observations.

    ``remembered`` (the model that last answered), ``failed_recently`` (models that failed within
    ``LIST_RETRY_MS``) and ``broken`` (that of them which last failed after commit) concern this
    client and this selector only. ``cooling`` models are cooling down for every client.
    ``first_byte`` (seconds) and ``throughput`` (tokens per second) are moving averages of the
    models that have been measured. ``forgotten``: why no model is remembered; None if one is.
    """

    remembered: str | None = None
    failed_recently: frozenset[str] = frozenset()
    cooling: frozenset[str] = frozenset()
    first_byte: Mapping[str, float] = UNMEASURED
    throughput: Mapping[str, float] = UNMEASURED
    broken: str | None = None
    forgotten: AffinityWhy | None = None
