"""Sealed calls: what reaches the handler of each answer, and what is released."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.logger import Logger
from twisted.trial.unittest import SynchronousTestCase

from autopilot.attestation.sealing import ReplyError, ReplyFault, ResponseKey, open_reply
from autopilot.http.response_parser import ResponseHead
from autopilot.observability.log_rate_limit import FailureLog
from autopilot.observability.private_counts import PrivateCounts
from autopilot.relay import private_call
from autopilot.relay.private_call import PrivateCall
from autopilot.routing.failure_reason import FailureReason
from autopilot.upstream.types import UpstreamError
from tests.unit.attestation.sealed import response_key as vector_key
from tests.unit.attestation.sealed import sealed_reply, sealed_stream, vectors
from tests.unit.relay.upstreams import DONE, STOP, TOKEN

REPLY = b'{"choices":[]}'
SSE, OCTETS = "text/event-stream", "application/octet-stream"


def _head(kind: str, status: int = 200, *, coded: bool = False) -> ResponseHead:
    fields = [(b"Content-Type", kind.encode()), (b"Location", b"http://elsewhere.test")]
    return ResponseHead(status, b"OK", fields, kind, None, coded)


class _Handler:
    """Records events; ``reacts`` is called at each."""

    def __init__(self) -> None:
        self.events: list[tuple[str, Any]] = []
        self.reacts: Callable[[], None] = lambda: None

    def _note(self, name: str, value: Any) -> None:
        self.events.append((name, value))
        self.reacts()

    def whole(self, head: ResponseHead, body: bytes) -> None:
        self.last_head = head
        self._note("whole", body)

    def head(self, head: ResponseHead, body: bytes) -> None:
        self.last_head = head
        self._note("head", body)

    def body(self, data: bytes) -> None:
        self._note("body", data)

    def end(self, body: bytes) -> None:
        self._note("end", body)

    def broken(self, error: UpstreamError) -> None:
        self._note("broken", error)

    @property
    def data(self) -> bytes:
        """All bytes but those of the error."""
        return b"".join(value for name, value in self.events if name != "broken")

    @property
    def names(self) -> list[str]:
        """The names of the events."""
        return [name for name, _ in self.events]


class _Transport:
    """Records what is done with the connection."""

    def __init__(self) -> None:
        self.done: list[str] = []

    def abort(self) -> None:
        self.done.append("abort")

    def drain(self) -> None:
        self.done.append("drain")

    def pause(self) -> None:
        self.done.append("pause")

    def resume(self) -> None:
        self.done.append("resume")


class CallTestCase(SynchronousTestCase):
    """One call."""

    def make(
        self, *, streams: bool = True, limit: int = 1 << 20, key: ResponseKey | None = None
    ) -> PrivateCall:
        """Make the call, as the pool has sent it."""
        self.key = key or ResponseKey()
        self.handler, self.transport = _Handler(), _Transport()
        self.counts, self.held = PrivateCounts(), [0]
        self.large: list[Deferred[bytes]] = []
        call = PrivateCall(
            b"payload",
            self.handler,
            self.key,
            streams=streams,
            held=self.held.append,
            open_large=self._open_large,
            counts=self.counts,
            failures=FailureLog(Logger(), Clock().seconds),
            limit=limit,
        )
        call.inner.transport = self.transport
        return call

    def _open_large(self, blob: bytes, key: ResponseKey, limit: int) -> Deferred[bytes]:
        self.opening = blob, key, limit
        self.large.append(Deferred())
        return self.large[-1]

    def events(self, *pieces: bytes) -> list[bytes]:
        """Return the events of a stream."""
        return sealed_stream(self.key.text, *pieces)

    def blob(self, body: bytes = REPLY) -> bytes:
        """Return a sealed reply."""
        return sealed_reply(self.key.text, gzip.compress(body))

    def assert_broken(self, call: PrivateCall, reason: FailureReason) -> None:
        """The handler learned why, and everything is released."""
        self.assertEqual(self.handler.events[-1], ("broken", UpstreamError(reason)))
        self.assertIsNone(call.outer.transport)
        self.assertEqual(self.transport.done, ["abort"])

    @property
    def faults(self) -> dict[str, float]:
        """The faults that were counted."""
        found = self.counts._faults.values
        return {str(label): number for (label,), number in found.items() if number}


class StreamTests(CallTestCase):
    """Streams."""

    def test_opened(self) -> None:
        """Each piece passes as it is opened; the terminator ends the answer."""
        call = self.make()
        init, token, stop, done = self.events(TOKEN, STOP, DONE)
        call.head(_head(SSE), init)
        call.body(token)
        call.body(b'data: {"usage":{"prompt_tokens":1}}\n\n\n')
        call.body(stop[:9])
        call.body(stop[9:] + done + b"data: more\n\n")
        call.body(b"never")
        call.end(b"never")
        self.assertEqual(
            self.handler.events,
            [("head", b""), ("body", TOKEN), ("end", STOP + DONE)],
        )
        self.assertEqual(list(self.handler.last_head.fields), [(b"Content-Type", SSE.encode())])
        self.assertEqual(self.transport.done, ["drain"])
        self.assertEqual(self.faults, {"outer_usage": 1})

    def test_in_one_read(self) -> None:
        """A stream that arrives at once is whole, with or without the end of the response."""
        call = self.make()
        call.whole(_head(SSE), b"".join(self.events(TOKEN, DONE)))
        self.assertEqual(self.handler.events, [("whole", TOKEN + DONE)])
        call = self.make()
        call.head(_head(SSE), b"".join(self.events(TOKEN, DONE)))
        self.assertEqual(self.handler.events, [("whole", TOKEN + DONE)])
        self.assertEqual(self.transport.done, ["drain"])

    def test_end_with_the_terminator(self) -> None:
        """The last read may end the response as well."""
        call = self.make()
        init, done = self.events(DONE)
        call.head(_head(SSE), init)
        call.end(done)
        self.assertEqual(self.handler.events, [("head", b""), ("end", DONE)])

    def test_truncated(self) -> None:
        """Without the sealed terminator the answer is not whole, whatever else says so."""
        for after in (b"", b"data: [DONE]\n\n"):
            call = self.make()
            init, token = self.events(TOKEN)
            call.head(_head(SSE), init)
            call.body(token)
            call.end(after)
            self.assertEqual(self.handler.names, ["head", "body", "broken"])
            self.assert_broken(call, FailureReason.NO_TERMINATOR)
            self.assertEqual(self.faults["truncated"], 1)
        self.assertEqual(self.faults["outer_done"], 1)

    def test_truncated_in_one_read(self) -> None:
        """Nothing of an answer that is known to be cut is committed to."""
        call = self.make()
        call.whole(_head(SSE), b"".join(self.events(TOKEN)))
        self.assertEqual(self.handler.names, ["broken"])
        self.assert_broken(call, FailureReason.NO_TERMINATOR)

    def test_fault_before_commit(self) -> None:
        """Before commit nothing passes of a read with a fault: another instance is to answer."""
        for at in range(3):
            call = self.make()
            init, token, bad = self.events(TOKEN, STOP)
            bad = bad.replace(b'"}', b'AAAA"}')
            call.head(_head(SSE), init + (token + bad if at == 0 else b""))
            if at:
                (call.body if at == 1 else call.end)(token + bad)
            self.assertNotIn(TOKEN, self.handler.data)
            self.assert_broken(call, FailureReason.REPLY_INVALID)
            self.assertEqual(self.faults, {"bad_seal": 1})

    def test_fault_after_commit(self) -> None:
        """After it what was opened before the fault passes, and nothing behind it."""
        call = self.make()
        init, token, stop, bad = self.events(TOKEN, STOP, DONE)
        call.head(_head(SSE), init)
        stream = _Handler()
        call.outer.handler = stream
        call.body(token)
        call.body(stop + bad.replace(b'"}', b'AAAA"}') + stop)
        self.assertEqual(
            stream.events,
            [
                ("body", TOKEN),
                ("body", STOP),
                ("broken", UpstreamError(FailureReason.REPLY_INVALID)),
            ],
        )

    def test_handler_leaves_at_a_fault(self) -> None:
        """A stream that ends at the last good bytes hears of no fault."""
        call = self.make()
        init, token, bad = self.events(TOKEN, DONE)
        call.head(_head(SSE), init)
        stream = _Handler()
        call.outer.handler = stream
        stream.reacts = call.outer.abort
        call.body(token + bad.replace(b'"}', b'AAAA"}'))
        self.assertEqual(stream.names, ["body"])
        self.assertEqual(self.transport.done, ["abort"])

    def test_lost(self) -> None:
        """The loss of the connection passes as it is."""
        call = self.make()
        (init,) = self.events()
        call.head(_head(SSE), init)
        error = UpstreamError(FailureReason.CONNECTION_LOST, stale=True)
        call.broken(error)
        self.assertEqual(self.handler.events[-1], ("broken", error))

    @given(st.data())
    def test_any_cut(self, data: st.DataObject) -> None:
        """Wherever the wire is cut, the same bytes pass; hostile streams as far as they may."""
        case = data.draw(st.sampled_from(vectors()["hostile_streams"]))
        wire = case["wire"].encode()
        call = self.make(key=vector_key())
        cuts = sorted(data.draw(st.sets(st.integers(1, max(1, len(wire) - 1)), max_size=6)))
        call.head(_head(SSE), b"")
        stream = _Handler()
        call.outer.handler = stream
        for start, end in zip([0, *cuts], [*cuts, len(wire)], strict=True):
            if start < end:
                call.inner.handler.body(wire[start:end])
        call.inner.handler.end(b"")
        expected = case["expect"]
        self.assertEqual(stream.data.decode(), expected["relayed"], case["name"])
        self.assertEqual(stream.names[-1], "end" if expected["end"] == "clean" else "broken")
        faults = {f"outer_{kind}": times for kind, times in expected["ignored"].items()}
        if expected["end"] != "clean":
            faults[expected["end"]] = 1
        self.assertEqual(self.faults, faults)


class ReplyTests(CallTestCase):
    """Plain replies."""

    def test_in_parts(self) -> None:
        """The head is withheld until the reply is whole; what is kept is counted."""
        call = self.make(streams=False)
        blob = self.blob()
        call.head(_head(OCTETS), blob[:10])
        call.body(blob[10:20])
        self.assertEqual((self.handler.events, sum(self.held)), ([], 20))
        call.end(blob[20:])
        self.assertEqual(self.handler.events, [("whole", REPLY)])
        self.assertEqual(sum(self.held), len(blob))
        self.assertEqual(self.handler.last_head.length, len(REPLY))

    def test_bad(self) -> None:
        """Whatever cannot be opened passes no byte on."""
        self.make()
        good = self.blob()
        for blob in (b"", good[:50], good[:-1] + bytes([good[-1] ^ 1]), REPLY):
            for whole in (True, False):
                call = self.make(streams=False)
                if whole:
                    call.whole(_head(OCTETS), blob)
                else:
                    call.head(_head(OCTETS), blob)
                    call.end(b"")
                self.assertEqual(self.handler.names, ["broken"])
                self.assert_broken(call, FailureReason.REPLY_INVALID)

    def test_too_large(self) -> None:
        """A reply that does not end is refused at its limit, sealed or once it expands."""
        call = self.make(streams=False, limit=100)
        call.head(_head(OCTETS), b"x" * 60)
        call.body(b"x" * 41)
        self.assert_broken(call, FailureReason.REPLY_INVALID)
        call.body(b"x")
        call.end(b"")
        self.assertEqual(self.handler.names, ["broken"])
        call = self.make(streams=False, limit=2000)
        call.whole(_head(OCTETS), self.blob(b'{"a":"' + b"x" * 9000 + b'"}'))
        self.assert_broken(call, FailureReason.REPLY_INVALID)

    def test_cut(self) -> None:
        """A reply that is lost in the middle was cut, although no head has passed."""
        call = self.make(streams=False)
        call.head(_head(OCTETS), self.blob()[:10])
        call.broken(UpstreamError(FailureReason.CONNECTION_LOST))
        self.assertEqual(self.handler.events, [("broken", UpstreamError(FailureReason.CUT))])

    def test_large(self) -> None:
        """A thread opens a large reply, and its work is given up with the call."""
        self.patch(private_call, "LARGE", 10)
        call = self.make(streams=False)
        call.whole(_head(OCTETS), self.blob())
        self.assertEqual(self.handler.events, [])
        self.large[0].callback(open_reply(*self.opening))
        self.assertEqual(self.handler.events, [("whole", REPLY)])
        call = self.make(streams=False)
        call.whole(_head(OCTETS), self.blob())
        self.large[0].errback(ReplyError(ReplyFault.BAD_SEAL))
        self.assert_broken(call, FailureReason.REPLY_INVALID)
        call = self.make(streams=False)
        call.whole(_head(OCTETS), self.blob())
        call.outer.abort()
        self.assertTrue(self.large[0].called)
        self.assertEqual(self.handler.events, [])

    def test_large_with_a_bug(self) -> None:
        """What else is raised in the thread is a bug."""
        self.patch(private_call, "LARGE", 10)
        call = self.make(streams=False)
        call.whole(_head(OCTETS), self.blob())
        self.large[0].errback(ZeroDivisionError())
        self.assertEqual(self.handler.names, ["broken"])
        self.assertTrue(self.handler.events[0][1].internal)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)


class OtherTests(CallTestCase):
    """Answers that are not sealed, and the transport."""

    def test_errors_pass(self) -> None:
        """An error passes as it is, without fields that concern a browser."""
        call = self.make()
        call.whole(_head("text/html", 429), b"page")
        self.assertEqual(self.handler.events, [("whole", b"page")])
        self.assertEqual(list(self.handler.last_head.fields), [(b"Content-Type", b"text/html")])
        call = self.make()
        call.head(_head("application/json", 500), b"a")
        call.body(b"b")
        call.end(b"c")
        self.assertEqual(self.handler.events, [("head", b"a"), ("body", b"b"), ("end", b"c")])
        self.assertEqual(self.transport.done, [])

    def test_not_sealed(self) -> None:
        """Any other status, and any other type, cannot be an instance's answer."""
        for streams in (True, False):
            asked = SSE if streams else OCTETS
            heads = [
                _head(SSE if not streams else OCTETS),
                _head("application/json"),
                _head(""),
                _head(asked, 201),
                _head(asked, 204),
                _head(asked, 307),
                _head(asked, coded=True),
            ]
            for head in heads:
                for whole in (True, False):
                    call = self.make(streams=streams)
                    body = b"".join(self.events(TOKEN, DONE)) if streams else self.blob()
                    (call.whole if whole else call.head)(head, body)
                    self.assertEqual(self.handler.names, ["broken"])
                    self.assert_broken(call, FailureReason.REPLY_INVALID)

    def test_transport(self) -> None:
        """Pauses reach the connection; so do the ends, after which nothing is received."""
        for ends in ("abort", "drain"):
            call = self.make()
            init, token = self.events(TOKEN)
            call.head(_head(SSE), init + b"data: [DONE]\n\n")
            call.outer.pause()
            call.outer.resume()
            getattr(call.outer, ends)()
            self.assertEqual(self.transport.done, ["pause", "resume", ends])
            call.inner.handler.body(token)
            self.assertEqual(self.handler.names, ["head"])
            self.assertEqual(self.faults, {"outer_done": 1})

    def test_reused(self) -> None:
        """Whether the connection had carried another call is known at the end."""
        call = self.make()
        call.inner.reused = True
        call.broken(UpstreamError(FailureReason.CONNECTION_LOST))
        self.assertTrue(call.outer.reused)

    def test_counter_with_a_bug(self) -> None:
        """A counter that raises neither keeps a connection open nor lets an answer look whole."""
        call = self.make()
        init, token, done = self.events(TOKEN, DONE)
        call.head(_head(SSE), init + b"data: [DONE]\n\n")
        self.patch(self.counts, "stream_fault", _raises)
        call.body(token + done)
        self.assertEqual(self.handler.names, ["head", "broken"])
        self.assertEqual(self.transport.done, ["abort"])
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        call = self.make()
        call.head(_head(SSE), b"data: [DONE]\n\n")
        self.patch(self.counts, "stream_fault", _raises)
        self.assertRaises(ZeroDivisionError, call.outer.abort)
        self.assertEqual(self.transport.done, ["abort"])

    def test_shows_nothing(self) -> None:
        """Its text has neither keys nor bodies."""
        self.assertEqual(repr(self.make()), "PrivateCall(open=True)")


def _raises(*_: object) -> None:
    raise ZeroDivisionError
