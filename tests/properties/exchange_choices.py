"""The choices of the exchange machine: configurations, requests, responses and their cuts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, TypeVar

from hypothesis import strategies as st

from autopilot.relay.sse_guard import GuardLevel
from autopilot.routing.retry_policy import Policy
from tests.properties import exchange_replies as replies
from tests.properties.exchange_attempt import Times
from tests.properties.exchange_replies import Framing
from tests.properties.exchange_router import Setup
from tests.unit.relay.routers import ALIAS

SELECTORS = {ALIAS: ("a", "b", "c"), "b,a": ("b", "a"), "c, a,b,a": ("c", "a", "b"), "a": ("a",)}
UNASKED = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
_Each = TypeVar("_Each")


class Manner(NamedTuple):
    """A response's framing, the reuse of its connection, and what precedes it."""

    framing: Framing
    keep: bool
    interim: bytes


def _odd(*seconds: float) -> Times:
    """Return deadlines that never coincide, so that their order is defined."""
    return Times(*(each + place / 512 for place, each in enumerate(seconds, start=1)))


PATIENT = _odd(2, 60, 600, 60, 120, 2, 12, 180, 900)
HASTY = _odd(2, 5, 8, 3, 4, 1, 3, 6, 15)

SETUPS = st.builds(
    Setup,
    policy=st.sampled_from((*Policy, Policy.OPEN)),
    guard=st.sampled_from(GuardLevel),
    shape_errors=st.sampled_from((True, True, False)),
    max_attempts=st.sampled_from((8, 2)),
    most_held=st.sampled_from((1 << 20, 400)),
    times=st.sampled_from((PATIENT, HASTY)),
    pool_size=st.sampled_from((2, 1)),
    own_channel=st.booleans(),
    shared=st.booleans(),
)
ANY = st.integers(0, 5)
PIECES = st.one_of(
    st.lists(st.sampled_from(list(replies.COMMON)), max_size=4),
    st.lists(st.sampled_from(list(replies.COMMON | replies.RARE)), max_size=4),
    st.sampled_from([[large] for large in replies.LARGE]),
)
MANNERS = st.builds(
    Manner,
    framing=st.sampled_from(Framing),
    keep=st.sampled_from((True, True, False)),
    interim=st.sampled_from((b"", b"", b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n")),
)
KEPT_ALIVE = Manner(Framing.LENGTH, True, b"")
ANSWERS = st.one_of(
    st.sampled_from(list(replies.REPLIES)[1:]),
    st.sampled_from([name for name, reply in replies.REPLIES.items() if reply.says]),
)
PAUSES = st.sampled_from([name for name in replies.REPLIES if "again in" in name])
THEN = st.sampled_from(("stays", "closes", "resets"))
CUTS = st.lists(st.integers(1, 400), max_size=3)
KEPT = st.sampled_from((0, 0, 0, 0, 1, 2, 5, 20))
ENDS = st.sampled_from(("clean", "not yet", "clean", "not yet", *replies.TAILS))
BETWEEN = st.sampled_from((0.0, 0.0, 2.0, 3.0, 61.0))
SECONDS = st.sampled_from((0.25, 0.5, 1.0, 2.0, 3.0, 5.0, 13.0, 61.0, 125.0, 610.0))


def one_of(many: Sequence[_Each], which: int) -> _Each:
    """Return the element for a number from `ANY`."""
    return many[which % len(many)]
