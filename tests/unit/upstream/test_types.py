"""Tests of an upstream call's handle: what reaches its transport, and that nothing does after."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from autopilot.http.response_parser import ResponseHead
from autopilot.routing.failure_reason import FailureReason
from autopilot.upstream.types import DISCARD, ResponseHandler, UpstreamCall, UpstreamError

HEAD = ResponseHead(200, b"OK", (), "application/json", 1)


class _Transport:
    """A transport that notes its calls."""

    def __init__(self) -> None:
        self.calls: list[str] = []

    def abort(self) -> None:
        """See `Transport`."""
        self.calls.append("abort")

    def drain(self) -> None:
        """See `Transport`."""
        self.calls.append("drain")

    def pause(self) -> None:
        """See `Transport`."""
        self.calls.append("pause")

    def resume(self) -> None:
        """See `Transport`."""
        self.calls.append("resume")


class _Handler:
    """A handler that takes everything, as the one for what is discarded does."""

    whole = head = body = end = broken = staticmethod(lambda *_given: None)


class CallTests(SynchronousTestCase):
    """A call that a transport carries."""

    def setUp(self) -> None:
        """Open it."""
        self.handler: ResponseHandler = _Handler()
        self.transport = _Transport()
        self.call = UpstreamCall(b"canary", self.handler, self.transport)

    def test_flow(self) -> None:
        """It can be paused and resumed as often as needed."""
        for step in (self.call.pause, self.call.resume, self.call.pause):
            step()
        self.assertEqual(self.transport.calls, ["pause", "resume", "pause"])

    def test_abort(self) -> None:
        """It is aborted once, and nothing reaches its transport afterwards."""
        self.call.abort()
        for step in (self.call.abort, self.call.drain, self.call.pause, self.call.resume):
            step()
        self.assertEqual(self.transport.calls, ["abort"])

    def test_drain(self) -> None:
        """Its rest is drained once, and its handler receives nothing more."""
        self.call.drain()
        self.assertIs(self.call.handler, DISCARD)
        for step in (self.call.drain, self.call.abort, self.call.pause, self.call.resume):
            step()
        self.assertEqual(self.transport.calls, ["drain"])

    def test_not_open(self) -> None:
        """Before a transport carries it, and after its end, nothing has an effect."""
        call = UpstreamCall(b"", self.handler)
        for step in (call.pause, call.resume, call.abort, call.drain):
            step()
        self.assertIsNone(call.transport)

    def test_shown(self) -> None:
        """Its text has nothing of what is sent."""
        self.assertEqual(repr(self.call), "UpstreamCall(open=True)")
        self.call.abort()
        self.assertEqual(repr(self.call), "UpstreamCall(open=False)")

    def test_identity(self) -> None:
        """Two calls with the same bytes are two calls."""
        self.assertNotEqual(self.call, UpstreamCall(b"canary", self.handler, self.transport))


class DiscardTests(SynchronousTestCase):
    """The handler of what nothing waits for."""

    def test_takes_all(self) -> None:
        """It takes each call that a transport may make."""
        handler: ResponseHandler = DISCARD
        handler.whole(HEAD, b"x")
        handler.head(HEAD, b"x")
        handler.body(b"x")
        handler.end(b"x")
        handler.broken(UpstreamError(FailureReason.CUT))
