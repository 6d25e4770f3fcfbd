"""The client receives the chosen upstream's bytes, whatever the chunks and the commit setting."""

from __future__ import annotations

from hypothesis import example, given, settings
from hypothesis import strategies as st

from autopilot.routing.commit import Commit
from tests.unit.relay.chunks import cut, places
from tests.unit.relay.routers import RouterTestCase
from tests.unit.relay.upstreams import DONE, ROLE, STOP, TOKEN, chunk, head

_FAILED = [
    b"",
    ROLE,
    b": ping\n\n" + ROLE,
    ROLE + b'data: {"error":{"message":"no"}}\n\n',
    ROLE + b'{"error":"no"}',
]
_WHOLE = st.lists(st.sampled_from([b": ping\n\n", ROLE, TOKEN]), max_size=6).map(
    lambda events: b"".join(events) + TOKEN + STOP + DONE
)
_UPSTREAM_CUTS = places(1200)


class RelayedBytesProperties(RouterTestCase):
    """Two candidates, the first of which fails before its commit."""

    def says(self, wire: bytes, where: list[int]) -> None:
        """Send the upstream's bytes, cut anywhere, including the framing.

        The router may abandon this connection before the last of them.
        """
        connection = self.wire
        for piece in cut(wire, where):
            connection.says(piece)

    @settings(max_examples=150)
    @example(Commit.CONTENT, _FAILED[3], TOKEN + STOP + DONE, True, [203], [], [1])
    @given(
        st.sampled_from([Commit.CONTENT, Commit.COMPLETE]),
        st.sampled_from(_FAILED),
        _WHOLE,
        st.booleans(),
        _UPSTREAM_CUTS,
        _UPSTREAM_CUTS,
        _UPSTREAM_CUTS,
    )
    def test_after_a_failure(
        self,
        commit: Commit,
        failed: bytes,
        answer: bytes,
        framed: bool,
        first_cuts: list[int],
        second_cuts: list[int],
        events_cuts: list[int],
    ) -> None:
        """The client receives nothing of the first response, and all of the second."""
        self.build(commit=commit)
        client = self.ask("a,b")
        self.says(head() + b"".join(map(chunk, cut(failed, events_cuts))) + chunk(b""), first_cuts)
        self.assertIsNone(client.down.head)
        if framed:
            length = head(200, b"text/event-stream", b"Content-Length: %d" % len(answer))
            self.says(length + answer, second_cuts)
        else:
            chunks = b"".join(map(chunk, cut(answer, events_cuts)))
            self.says(head() + chunks + chunk(b""), second_cuts)
        self.assertEqual(self.models, ["a", "b"])
        self.assertEqual((client.down.ended, client.down.body), ("finish", answer))
        self.assertEqual(client.down.field(b"x-chutes-autopilot-selected"), b"b")

    @settings(max_examples=100)
    @given(st.sampled_from(list(Commit)), _WHOLE, _UPSTREAM_CUTS, _UPSTREAM_CUTS)
    def test_of_the_only_one(
        self, commit: Commit, answer: bytes, wire_cuts: list[int], events_cuts: list[int]
    ) -> None:
        """The same holds without another candidate, and for unary responses."""
        for kind in (b"text/event-stream", b"application/json"):
            self.build(commit=commit)
            client = self.ask("a")
            chunks = b"".join(map(chunk, cut(answer, events_cuts)))
            self.says(head(200, kind) + chunks + chunk(b""), wire_cuts)
            self.assertEqual((client.down.ended, client.down.body), ("finish", answer))

    @settings(max_examples=100)
    @given(st.integers(1, 400), _WHOLE, _UPSTREAM_CUTS)
    def test_of_a_broken_one(self, size: int, answer: bytes, wire_cuts: list[int]) -> None:
        """Of a committed answer that breaks, the client receives a prefix and the error."""
        self.build(commit=Commit.BYTE)
        client = self.ask("a,b")
        part = answer[:size]
        self.says(head() + b"%x\r\n" % (len(part) + 1) + part, wire_cuts)
        self.wire.resets()
        self.clock.advance(0)
        self.assertEqual(self.models, ["a"])
        whole = STOP in part
        self.assertEqual(client.down.ended, "finish" if whole else "cut")
        self.assertTrue(client.down.body.startswith(part))
        rest = client.down.body[len(part) :]
        announced = part.endswith(b"\n\n") and not whole
        self.assertEqual(rest.count(b"upstream_stream_interrupted"), announced)
        self.assertEqual(rest == b"", not announced)
