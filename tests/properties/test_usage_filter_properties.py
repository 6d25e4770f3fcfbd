"""Of any stream, cut anywhere, the client gets all events but the chunk of usage."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from autopilot.relay.sse_guard import GuardLevel
from autopilot.routing.commit import Commit
from tests.unit.relay.chunks import cut, places
from tests.unit.relay.routers import RouterTestCase
from tests.unit.relay.test_usage_filter import USAGE, passed
from tests.unit.relay.upstreams import DONE, ROLE, STOP, TOKEN, chunk, head

_TOTALS = TOKEN.replace(b"]}", b'],"usage":{"completion_tokens":1}}')
_NULL = TOKEN.replace(b"]}", b'],"usage":null}')
_EVENTS = [
    *(ROLE, TOKEN, _NULL, STOP, DONE, USAGE, USAGE, _TOTALS, b": ping\n\n", b"\n"),
    b'event: x\ndata: {"choices":[],"usage":{}}\n\n',
    b'data: {"choices":[],"usage":null}\n\n',
    b'data: {"usage":{"a":1}}\n\n',
]
# Parts of events, from which hostile streams are made.
_PARTS = [
    *(b"data:", b"data: ", b'data: {"choices":[', b"]", b"{", b"}", b" ", b"x", b": c"),
    *(b',"usage":{', b'"usage":{}}', b'"choices":[],', b'"id":"1",', b"event: a\n"),
    *(b"\n", b"\r", b"\r\n", b"\n\n", b"\r\n\r\n", b"\r\r"),
    *(USAGE, USAGE.replace(b"\n", b"\r"), b'data: {"choices":[{}],"usage":{}}\n\n'),
]


def expected(events: list[bytes]) -> bytes:
    """Return the rest of a stream by the plainest rule, event by event."""
    left, reads = [], True
    for event in events:
        reads = reads and event != _TOTALS
        if not (reads and event == USAGE):
            left.append(event)
    return b"".join(left)


class UsageFilterProperties(SynchronousTestCase):
    """The filter against the rule."""

    @settings(max_examples=200)
    @given(
        st.lists(st.sampled_from(_EVENTS), min_size=1, max_size=8),
        st.sampled_from([b"\n", b"\r\n", b"\r"]),
        places(900),
    )
    def test_any_pieces(self, events: list[bytes], line_end: bytes, where: list[int]) -> None:
        """The pieces make no difference."""
        stream = b"".join(events).replace(b"\n", line_end)
        left = expected(events).replace(b"\n", line_end)
        self.assertEqual(passed(cut(stream, where)).body, left)

    @settings(max_examples=200)
    @given(st.lists(st.sampled_from(_PARTS), min_size=1, max_size=14), places(250))
    def test_any_bytes(self, parts: list[bytes], where: list[int]) -> None:
        """Nor do they for bytes that are only similar to events."""
        stream = b"".join(parts)
        self.assertEqual(passed(cut(stream, where)).body, passed([stream]).body)


class AskingProperties(RouterTestCase):
    """The same through the whole data plane, cut within events and within the framing."""

    @settings(max_examples=60)
    @given(
        st.lists(st.sampled_from([TOKEN, _NULL, b": ping\n\n"]), max_size=5),
        st.sampled_from([b"\n", b"\r\n"]),
        st.sampled_from(list(GuardLevel)),
        st.sampled_from(list(Commit)),
        places(900),
        places(1200),
    )
    def test_any_pieces(
        self,
        events: list[bytes],
        line_end: bytes,
        guard: GuardLevel,
        commit: Commit,
        events_cuts: list[int],
        wire_cuts: list[int],
    ) -> None:
        """The client gets all but the chunk of usage, whatever guards and holds the stream."""
        self.build(guard=guard, commit=commit)
        self.proxy.configure(replace(self.config, asks_usage=True))
        client = self.ask("a,b")
        answer = [ROLE, TOKEN, *events, STOP, USAGE, DONE]
        stream = b"".join(answer).replace(b"\n", line_end)
        wire = head() + b"".join(map(chunk, cut(stream, events_cuts))) + chunk(b"")
        connection = self.wire
        for piece in cut(wire, wire_cuts):
            connection.says(piece)
        left = expected(answer).replace(b"\n", line_end)
        self.assertEqual((client.down.ended, client.down.body), ("finish", left))
        self.assertEqual((self.record.bytes, self.models), (len(left), ["a"]))
