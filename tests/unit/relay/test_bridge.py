"""The client's side of a stream that begins before its answer (contract §6, §7)."""

from __future__ import annotations

import json
from typing import Any

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from autopilot.http.dialect import Dialect
from autopilot.http.timers import Deadline
from autopilot.relay.bridge import COMMENT, BridgedResponse, refusal_event, response_event
from autopilot.relay.downstream import CommittedHead
from autopilot.routing.router_error import RouterError
from tests.unit.relay.downstreams import RecordingDownstream

SECOND = 1.0
HEAD = CommittedHead(200, b"OK", [], streams=True, rechunk=True)


def event_of(body: bytes) -> Any:
    """Return the data of the only event behind the comments."""
    rest = body.replace(COMMENT, b"")
    lines = rest.removesuffix(b"\n\n").split(b"\n")
    assert lines[-1].startswith(b"data: ") and len(lines) <= 2, body
    return json.loads(lines[-1][6:])


class EventTests(SynchronousTestCase):
    """What ends a stream that has begun."""

    def test_own_error(self) -> None:
        """An error of the router's own has its status beside the rest, in the dialect's shape."""
        error = RouterError(504, "upstream_header_timeout", "Late.")
        facts = {
            "message": "Late.",
            "param": None,
            "code": "upstream_header_timeout",
            "status": 504,
        }
        chat = event_of(refusal_event(error, Dialect.COMPLETIONS))
        self.assertEqual(chat, {"error": {"type": "server_error", **facts}})
        event = refusal_event(error, Dialect.MESSAGES)
        self.assertTrue(event.startswith(b"event: error\n"))
        expected = {"type": "error", "error": {"type": "api_error", **facts}}
        self.assertEqual(event_of(event), expected)
        event = refusal_event(error, Dialect.RESPONSES)
        self.assertTrue(event.startswith(b"event: response.failed\n"))
        failed = event_of(event)
        self.assertEqual(
            (failed["type"], failed["response"]["status"]), ("response.failed", "failed")
        )
        self.assertEqual(failed["response"]["error"], {"type": "server_error", **facts})

    def test_upstream_error(self) -> None:
        """Of an upstream's response its error is kept, or what it says instead."""
        given = b'{"error":{"message":"No.","type":"x","code":7,"more":1},"else":2}'
        error = event_of(response_event(400, given, Dialect.COMPLETIONS))["error"]
        expected = {"message": "No.", "type": "x", "param": None, "code": 7, "more": 1}
        self.assertEqual(error, {**expected, "status": 400})
        for body, message in (
            (b'{"detail":"Full."}', "Full."),
            (b'{"error":"Short."}', "Short."),
            (b"<html>banned</html>", "The upstream answered with status 429."),
            (b'{"error":{"message":"cut', "The upstream answered with status 429."),
            (b"", "The upstream answered with status 429."),
            (b'{"error":{"message":"\\ud800"}}', "The upstream answered with status 429."),
            (b'{"detail":"\\ud800"}', "The upstream answered with status 429."),
        ):
            error = event_of(response_event(429, body, Dialect.COMPLETIONS))["error"]
            self.assertEqual((error["message"], error["status"]), (message, 429), body)
            self.assertEqual(error["type"], "rate_limit_error")

    def test_status_is_the_responses(self) -> None:
        """An upstream's own member cannot say another status."""
        body = b'{"error":{"message":"No.","status":200}}'
        for dialect in Dialect:
            event = event_of(response_event(402, body, dialect))
            error = event.get("response", event)["error"]
            self.assertEqual(error["status"], 402)


class BridgedResponseTests(SynchronousTestCase):
    """The client's side itself."""

    def setUp(self) -> None:
        """Begin nothing yet."""
        self.clock = Clock()
        self.down = RecordingDownstream(self.clock)
        self.silent = 0
        deadline = Deadline(self.clock, self._silent)
        self.bridge = BridgedResponse(self.down, Dialect.COMPLETIONS, deadline, SECOND)

    def _silent(self) -> None:
        self.silent += 1

    def tearDown(self) -> None:
        """No timer is left."""
        self.bridge.close()
        self.down.lost()
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_not_begun(self) -> None:
        """Before the first comment everything passes as it is, and silence is over with it."""
        error = RouterError(503, "draining", "")
        for name, given in (
            ("whole", (HEAD, b"x")),
            ("commit", (HEAD, b"x")),
            ("refuse", (error,)),
        ):
            self.setUp()
            getattr(self.bridge, name)(*given)
            self.assertTrue(self.bridge.committed)
            self.clock.advance(10)
            self.assertEqual(self.silent, 0)
            self.down.lost()

    def test_begun_is_not_committed(self) -> None:
        """A head and comments are no commit; an answer is."""
        self.bridge.begin(HEAD)
        self.bridge.comment()
        self.assertFalse(self.bridge.committed)
        self.assertIs(self.bridge.relay(), self.bridge)
        self.bridge.commit(HEAD, b"\xef\xbb\xbfdata: 1\n\n")
        self.assertTrue(self.bridge.committed)
        self.assertEqual(self.down.body, COMMENT + COMMENT + b"data: 1\n\n")

    def test_end_that_fails(self) -> None:
        """If the event cannot be written, the stream counts as committed, so that it is cut off."""
        self.bridge.begin(HEAD)
        self.down.finish(b"")
        with self.assertRaises(AssertionError):
            self.bridge.refuse(RouterError(502, "x", ""))
        self.assertTrue(self.bridge.committed)

    def test_passed_on(self) -> None:
        """What a stream asks of its client is the client's to say."""
        self.down.left, self.down.modern = 7, False
        self.assertEqual((self.bridge.unsent(), self.bridge.chunks), (7, False))
        self.assertIs(self.bridge.timer(self._silent), self.down.timer(self._silent))
        self.bridge.begin(HEAD)
        self.bridge.abort()
        self.assertEqual(self.down.ended, "abort")
