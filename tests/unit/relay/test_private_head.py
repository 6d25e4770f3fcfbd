"""Heads of private responses: what passes of the gateway's, and what the router adds."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from autopilot.attestation.private_instances import TEST_ROOTS, Attested
from autopilot.http.response_parser import ResponseHead
from autopilot.relay.private_head import opened_head, passed_head, private_fields
from tests.unit.attestation.fake_instances import FOUND
from tests.unit.attestation.sealed import instance_key

_FIELDS = [
    (b"Content-Type", b"application/octet-stream"),
    (b"Content-Length", b"5"),
    (b"Content-Encoding", b"identity"),
    (b"Date", b"now"),
    (b"Retry-After", b"3"),
    (b"X-Chutes-InvocationID", b"1"),
    (b"X-Chutes-Quota-Used", b"2"),
    (b"X-Chutes-Unknown", b"forged"),
    (b"X-Chutes-Autopilot-Selected", b"forged"),
    (b"x-chutes-autopilot-private", b"forged"),
    (b"Set-Cookie", b"a=b"),
    (b"Location", b"http://elsewhere.test"),
    (b"Refresh", b"0"),
    (b"Access-Control-Allow-Origin", b"*"),
    (b"Server", b"x"),
]


def _head(status: int = 200) -> ResponseHead:
    return ResponseHead(status, b"Said", _FIELDS, "application/octet-stream", 5)


class PassingTests(SynchronousTestCase):
    """A gateway's fields."""

    def test_opened(self) -> None:
        """An opened answer has the engine's type, and its own length."""
        head = opened_head(_head(), "application/json", 17)
        self.assertEqual(
            list(head.fields),
            [
                (b"Date", b"now"),
                (b"Retry-After", b"3"),
                (b"X-Chutes-InvocationID", b"1"),
                (b"X-Chutes-Quota-Used", b"2"),
                (b"Content-Type", b"application/json"),
                (b"Content-Length", b"17"),
            ],
        )
        self.assertEqual((head.content_type, head.length), ("application/json", 17))
        self.assertEqual(head.reason, b"OK")
        stream = opened_head(_head(), "text/event-stream")
        self.assertIsNone(stream.length)
        self.assertNotIn(b"Content-Length", dict(stream.fields))

    def test_error(self) -> None:
        """An error keeps what describes its body."""
        names = [name for name, _ in passed_head(_head(429)).fields]
        self.assertEqual(
            names,
            [
                b"Content-Type",
                b"Content-Length",
                b"Content-Encoding",
                b"Date",
                b"Retry-After",
                b"X-Chutes-InvocationID",
                b"X-Chutes-Quota-Used",
            ],
        )


class AddedTests(SynchronousTestCase):
    """The router's own fields."""

    def test_fields(self) -> None:
        """They say what was verified, when, and by which roots."""
        attested = Attested("0a-1", instance_key(), "n" * 32, FOUND, 1000.0)
        private, instance = private_fields(attested, 1312.9)
        self.assertEqual(
            private,
            (
                b"x-chutes-autopilot-private",
                b'attested;age=312;tcb="UpToDate";measurement="1.4.1 8xh200";gpu="signed"',
            ),
        )
        self.assertEqual(instance, (b"x-chutes-autopilot-instance", b"0a-1"))

    def test_test_roots(self) -> None:
        """With other roots nothing is called attested; a clock that went back gives no age."""
        attested = Attested("0a-1", instance_key(), "n" * 32, FOUND, 1000.0, TEST_ROOTS)
        (_, value), _ = private_fields(attested, 990.0)
        self.assertTrue(value.startswith(b"test-roots;age=0;"))
        self.assertNotIn(b"attested", value)
