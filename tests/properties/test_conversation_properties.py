"""Whatever clients say their conversations are, what the router keeps of them is bounded."""

from __future__ import annotations

from typing import Any, NamedTuple

from hypothesis import given, settings
from hypothesis import strategies as st

from autopilot.request.conversation_id import SESSION_FIELDS
from autopilot.routing.why import HIT
from autopilot.state.affinity import SessionAffinity
from autopilot.state.circuit_breaker import CircuitBreaker
from autopilot.state.latency import LatencyStats
from autopilot.state.tables import StateTables
from tests.unit.relay.routers import ALIAS, RouterTestCase
from tests.unit.relay.upstreams import JSON, whole

_MOST = 8
_UNAVAILABLE = whole(503, b"", JSON, b"Connection: close")
_TOLD = (*SESSION_FIELDS, "prompt_cache_key", "session_id", "messages", "prompt", "nothing")


class Asked(NamedTuple):
    """One request: whose, of what models, and what tells its conversation."""

    token: bytes
    model: str
    told_by: bytes | str
    name: str
    fails: bool

    @property
    def sent(self) -> tuple[tuple[tuple[bytes, bytes], ...], dict[str, Any]]:
        """The header fields and members that tell it."""
        if isinstance(self.told_by, bytes):
            return ((self.told_by, self.name.encode()),), {}
        if self.told_by == "messages":
            return (), {"messages": [{"role": "user", "content": self.name}]}
        return (), {} if self.told_by == "nothing" else {self.told_by: self.name}


asked = st.builds(
    Asked,
    token=st.sampled_from([b"one", b"two"]),
    model=st.sampled_from([ALIAS, f"{ALIAS}:latency", "a,b", f"c,{ALIAS}", "b"]),
    told_by=st.sampled_from(_TOLD),
    name=st.text("0123456789", min_size=1, max_size=5),
    fails=st.booleans(),
)


class ConversationProperties(RouterTestCase):
    """Random conversations."""

    def answer(self, each: Asked) -> None:
        """Send a request, let its first attempt fail or not, and answer it."""
        fields, members = each.sent
        self.ask(each.model, *fields, stream=False, token=each.token, **members)
        if each.fails:
            self.wire.says(_UNAVAILABLE)
        if each.model != "b" or not each.fails:
            self.wire.says(whole(200, b"{}", JSON, b"Connection: close"))

    @settings(deadline=None, max_examples=50)
    @given(st.lists(asked, min_size=1, max_size=40))
    def test_bounded(self, several: list[Asked]) -> None:
        """The tables stay within `STICKY_MAX_ENTRIES`, and the last conversation is among them."""
        tables = StateTables(
            SessionAffinity(ttl=1800.0, max_entries=_MOST, list_retry=10.0),
            CircuitBreaker(threshold=1000, period=10.0, max_entries=_MOST),
            LatencyStats(),
        )
        self.build(tables=tables)
        for each in several:
            self.answer(each)
            self.assertLessEqual(len(tables.affinity), _MOST)
            self.assertLessEqual(len(tables.breaker.of_clients), _MOST)
        last = several[-1]
        if last.model != "b":
            self.answer(last._replace(fails=False))
            self.assertIs(self.records[-1].affinity, HIT)
