"""The response head a client gets."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from autopilot.http.headers import Field
from autopilot.http.response_parser import ResponseHead
from autopilot.relay.response_head import committed_head, reply


def _head(status: int, content_type: str, *fields: Field) -> ResponseHead:
    return ResponseHead(status, b"Why", fields, content_type, None)


class ReplyTests(SynchronousTestCase):
    """What the verdict looks at."""

    def test_when_to_try_again(self) -> None:
        """It is asked of errors, and means nothing in other responses."""
        again = (b"Retry-After", b"3")
        self.assertEqual(reply(_head(503, "text/html", again)).retry_after, "3")
        self.assertIsNone(reply(_head(503, "text/html")).retry_after)
        self.assertIsNone(reply(_head(200, "text/html", again)).retry_after)


class CommittedHeadTests(SynchronousTestCase):
    """The upstream's fields and the router's own."""

    def fields(self, head: ResponseHead, selected: str | None = "m") -> list[Field]:
        """The fields the client gets after two attempts."""
        committed = committed_head(
            head, request_id="r", selected=selected, attempts=2, rechunk=False
        )
        self.assertEqual((committed.status, committed.reason), (head.status, b"Why"))
        return list(committed.fields)

    def test_own_fields(self) -> None:
        """The router's own take the place of what the upstream calls the same."""
        head = _head(
            200,
            "a/b",
            (b"X-Request-ID", b"theirs"),
            (b"X-A", b"1"),
            (b"Connection", b"close, X-B"),
            (b"x-b", b"2"),
            (b"X-Chutes-Autopilot-Selected", b"forged"),
            (b"X-Should-Retry", b"true"),
        )
        theirs = [(b"X-A", b"1"), (b"X-Should-Retry", b"true"), (b"x-request-id", b"r")]
        self.assertEqual(self.fields(head, None), theirs)
        selected = (b"x-chutes-autopilot-selected", b"m")
        attempts = (b"x-chutes-autopilot-attempts", b"2")
        self.assertEqual(self.fields(head), [*theirs, selected, attempts])
        self.assertEqual(self.fields(head, "a\r\nb"), [*theirs, attempts])

    def test_the_edges_own_limit(self) -> None:
        """The response forbids a retry where every further call prolongs the ban."""
        head = _head(429, "text/html", (b"X-Should-Retry", b"true"))
        self.assertEqual(
            self.fields(head, None), [(b"x-request-id", b"r"), (b"x-should-retry", b"false")]
        )
        plain = _head(429, "application/json", (b"X-Should-Retry", b"true"))
        self.assertIn((b"X-Should-Retry", b"true"), self.fields(plain))
