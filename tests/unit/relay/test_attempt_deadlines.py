"""Which deadline of an attempt is the nearest, and how an allowance that expired grows."""

from __future__ import annotations

from math import inf
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from autopilot.http.dialect import Dialect
from autopilot.http.response_parser import ResponseHead
from autopilot.relay.attempt import Attempt
from autopilot.relay.attempt_deadlines import Expiry, extend, lateness, nearest
from autopilot.relay.commit import FirstContent
from autopilot.relay.config import Timeouts
from autopilot.request.body import ParsedBody, parse_body
from autopilot.routing.candidate import Candidate
from autopilot.routing.failure_reason import FailureReason
from autopilot.state.latency import LatencyStats
from tests.unit.relay.upstreams import TOKEN

TIMEOUTS = Timeouts(
    connect=5.0,
    header=60.0,
    unary=600.0,
    first_body_byte=30.0,
    idle=90.0,
    error_body=10.0,
    failover_after=12.0,
    plain_failover_after=40.0,
    total=900.0,
)


class Owner:
    """The owner of an attempt, which takes no input here."""

    def take(self, given: object, attempt: object, *details: Any) -> None:
        """Ignore an input."""


def attempt_of(allowance: float = inf) -> Attempt:
    """Return an attempt that began at 1000; it is the last one unless it has an allowance."""
    return Attempt(Owner(), Candidate("a"), allowance == inf, 1000.0, allowance)


def answering(attempt: Attempt, *parts: bytes) -> Attempt:
    """Return an attempt whose head came at 1005, and of whose stream these parts came at 1008."""
    attempt.response = ResponseHead(200, b"OK", (), "text/event-stream", None)
    attempt.head_at, attempt.heard_at, attempt.idle = 1005.0, 1008.0, 90.0
    attempt.commit_policy = policy = FirstContent(Dialect.COMPLETIONS)
    for part in parts:
        attempt.hold(part)
        policy.feed(part)
    return attempt


def body_of(text: bytes) -> ParsedBody:
    """Return a parsed request body."""
    parsed = parse_body(text)
    assert isinstance(parsed, ParsedBody)
    return parsed


class NearestTests(SynchronousTestCase):
    """The nearest deadline, with a candidate left and without."""

    def test_last(self) -> None:
        """The last candidate has the full time for its head, its first byte and each next one."""
        self.assertEqual(nearest(attempt_of(), TIMEOUTS, True), (1060.0, Expiry.HEADER))
        self.assertEqual(nearest(attempt_of(), TIMEOUTS, False), (1600.0, Expiry.HEADER))
        silent, begun = answering(attempt_of()), answering(attempt_of(), b": hello\n\n")
        self.assertEqual(nearest(silent, TIMEOUTS, True), (1035.0, Expiry.FIRST_BODY_BYTE))
        self.assertEqual(nearest(begun, TIMEOUTS, True), (1098.0, Expiry.IDLE))

    def test_error_body(self) -> None:
        """The body of an error, which no policy reads, has a time of its own."""
        attempt = attempt_of(12.0)
        attempt.response, attempt.head_at = ResponseHead(500, b"", (), "", None), 1005.0
        self.assertEqual(nearest(attempt, TIMEOUTS, True), (1015.0, Expiry.ERROR_BODY))

    def test_allowance(self) -> None:
        """While a candidate is left, the allowance counts from the start of the attempt."""
        after = Expiry.FAILOVER_AFTER
        self.assertEqual(nearest(attempt_of(12.0), TIMEOUTS, True), (1012.0, after))
        self.assertEqual(nearest(answering(attempt_of(12.0)), TIMEOUTS, True), (1012.0, after))
        plain = nearest(attempt_of(40.0), TIMEOUTS, False)
        self.assertEqual(plain, (1040.0, Expiry.PLAIN_FAILOVER_AFTER))

    def test_longer_than_the_limit(self) -> None:
        """A limit that expires sooner applies first, but not the one between two bytes."""
        self.assertEqual(nearest(attempt_of(80.0), TIMEOUTS, True), (1060.0, Expiry.HEADER))
        begun = answering(attempt_of(120.0), b": hello\n\n")
        self.assertEqual(nearest(begun, TIMEOUTS, True), (1120.0, Expiry.FAILOVER_AFTER))

    def test_stalled(self) -> None:
        """Once part of the answer is held, its pauses are limited."""
        begun = answering(attempt_of(12.0), TOKEN)
        begun.pause_allowance = 15.0
        self.assertEqual(nearest(begun, TIMEOUTS, True), (1023.0, Expiry.STALLED))


class LatenessTests(SynchronousTestCase):
    """The reason for an expired deadline says how far the response was."""

    def test_progress(self) -> None:
        """No head, no content, part of an answer."""
        for attempt, reason in (
            (attempt_of(), FailureReason.HEADER_TIMEOUT),
            (answering(attempt_of()), FailureReason.FIRST_BODY_BYTE_TIMEOUT),
            (answering(attempt_of(), b": hello\n\n"), FailureReason.FIRST_BODY_BYTE_TIMEOUT),
            (answering(attempt_of(), TOKEN), FailureReason.STALLED),
        ):
            self.assertIs(lateness(attempt), reason)


class ExtendTests(SynchronousTestCase):
    """What the request and the model add to an allowance that has expired."""

    def setUp(self) -> None:
        """Know nothing of the model."""
        self.latency = LatencyStats()

    def extend(self, attempt: Attempt, expired: Expiry, body: ParsedBody, factor: float) -> bool:
        """Extend an allowance."""
        return extend(attempt, expired, TIMEOUTS, self.latency, body, factor)

    def test_long_prompt(self) -> None:
        """A second is added for each 8 KB of the body, and what expired before doubles it."""
        body = body_of(b'{"model": "a", "stream": true, "pad": "%b"}' % (b"x" * 16_000))
        for factor in (1.0, 2.0):
            attempt = attempt_of(12.0)
            self.assertTrue(self.extend(attempt, Expiry.FAILOVER_AFTER, body, factor))
            self.assertEqual(attempt.allowance, factor * (12.0 + body.template.size / 8000))
            self.assertFalse(self.extend(attempt, Expiry.FAILOVER_AFTER, body, factor))

    def test_slow_model(self) -> None:
        """A stream has three times the model's own 95th percentile, if that is more."""
        body, attempt = body_of(b'{"model": "a", "stream": true}'), attempt_of(12.0)
        for _ in range(20):
            self.latency.started("a", 10.0, 0.0)
        self.assertTrue(self.extend(attempt, Expiry.FAILOVER_AFTER, body, 1.0))
        self.assertEqual(attempt.allowance, 30.0)

    def test_pauses(self) -> None:
        """The pauses of a held stream grow by the same rule, and the other allowance stays."""
        body = body_of(b'{"model": "a", "stream": true, "pad": "%b"}' % (b"x" * 16_000))
        attempt = answering(attempt_of(12.0), TOKEN)
        attempt.pause_allowance = 12.0
        self.assertTrue(self.extend(attempt, Expiry.STALLED, body, 1.0))
        self.assertEqual(attempt.pause_allowance, 12.0 + body.template.size / 8000)
        self.assertEqual(attempt.allowance, 12.0)

    def test_plain(self) -> None:
        """Any other answer has a second for each 100 tokens of its limit, and never twice that."""
        expired = Expiry.PLAIN_FAILOVER_AFTER
        for text, added in ((b"", 0.0), (b', "max_tokens": 1000', 10.0)):
            body, attempt = body_of(b'{"model": "a"%b}' % text), attempt_of(40.0)
            self.assertEqual(self.extend(attempt, expired, body, 2.0), added > 0)
            self.assertEqual(attempt.allowance, 40.0 + added)

    def test_plain_and_slow(self) -> None:
        """Once the model's own times are known, they count instead of the limit."""
        for _ in range(20):
            self.latency.answered("a", 20.0)
        body, attempt = body_of(b'{"model": "a", "max_tokens": 1000}'), attempt_of(40.0)
        self.assertTrue(self.extend(attempt, Expiry.PLAIN_FAILOVER_AFTER, body, 1.0))
        self.assertEqual(attempt.allowance, 60.0)
