"""The response head a client gets."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from autopilot.http.headers import Field
from autopilot.http.response_parser import ResponseHead
from autopilot.observability.records import Failover
from autopilot.relay.response_head import DateField, committed_head, reply, resized, tried_models
from autopilot.routing.failure_reason import FailureReason


def _head(status: int, content_type: str, *fields: Field, dated: bool = True) -> ResponseHead:
    return ResponseHead(status, b"Why", fields, content_type, None, dated=dated)


class ReplyTests(SynchronousTestCase):
    """What the verdict looks at."""

    def test_when_to_try_again(self) -> None:
        """It is asked of errors, and means nothing in other responses."""
        again = (b"Retry-After", b"3")
        self.assertEqual(reply(_head(503, "text/html", again)).retry_after, "3")
        self.assertIsNone(reply(_head(503, "text/html")).retry_after)
        self.assertIsNone(reply(_head(200, "text/html", again)).retry_after)


class ResizedTests(SynchronousTestCase):
    """The head of a body that has grown."""

    def test_length(self) -> None:
        """Only the length differs; where there was none, there still is none."""
        fields = ((b"X-A", b"1"), (b"content-LENGTH", b"9"), (b"X-A", b"9"))
        head = ResponseHead(401, b"Why", fields, "application/json", 9)
        longer = resized(head, 120)
        self.assertEqual(
            longer.fields, [(b"X-A", b"1"), (b"content-LENGTH", b"120"), (b"X-A", b"9")]
        )
        self.assertEqual((longer.length, longer.status, longer.reason), (120, 401, b"Why"))
        chunked = _head(401, "application/json", (b"X-A", b"1"))
        self.assertEqual(resized(chunked, 120), chunked)


class DateFieldTests(SynchronousTestCase):
    """The date of responses."""

    def test_once_a_second(self) -> None:
        """It changes with the second of the wall clock, whose steps move nothing else."""
        wall = [1_800_000_000.25]
        date = DateField(lambda: wall[0])
        self.assertLessEqual(date.due, 0.0)
        date.renew(1000.0)
        self.assertEqual(date.value, b"Fri, 15 Jan 2027 08:00:00 GMT")
        self.assertEqual(date.due, 1000.75)
        wall[0] = 0.0
        date.renew(date.due)
        self.assertEqual((date.value, date.due), (b"Thu, 01 Jan 1970 00:00:00 GMT", 1001.75))


class CommittedHeadTests(SynchronousTestCase):
    """The upstream's fields and the router's own."""

    def fields(
        self, head: ResponseHead, selected: str | None = "m", tried: bytes | None = None
    ) -> list[Field]:
        """The fields the client gets after two attempts."""
        committed = committed_head(
            head,
            request_id="r",
            selected=selected,
            attempts=2,
            rechunk=False,
            date=b"now",
            tried=tried,
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
            (b"X-Chutes-Autopilot-Tried", b"forged"),
            (b"X-Chutes-Autopilot-Cost", b"forged"),
        )
        theirs = [(b"X-A", b"1"), (b"X-Should-Retry", b"true"), (b"x-request-id", b"r")]
        self.assertEqual(self.fields(head, None), theirs)
        selected = (b"x-chutes-autopilot-selected", b"m")
        attempts = (b"x-chutes-autopilot-attempts", b"2")
        self.assertEqual(self.fields(head), [*theirs, selected, attempts])
        self.assertEqual(self.fields(head, "a\r\nb"), [*theirs, attempts])

    def test_cost(self) -> None:
        """The cost is in dollars, a plain decimal, also of an answer that is free."""
        head = _head(200, "application/json")
        for cost, value in ((0, b"0"), (1, b"0.000000000001"), (10**15, b"1000")):
            done = committed_head(head, "r", None, 1, False, b"", cost=cost)
            self.assertEqual(done.fields[1:], [(b"x-chutes-autopilot-cost", value)])

    def test_date(self) -> None:
        """A response without a date gets the router's, and no other does."""
        own = (b"Date", b"now")
        self.assertIn(own, self.fields(_head(200, "a/b", dated=False)))
        self.assertNotIn(own, self.fields(_head(200, "a/b")))

    def test_buffering(self) -> None:
        """Event streams, and they alone, ask a proxy not to collect them."""
        own = (b"X-Accel-Buffering", b"no")
        self.assertIn(own, self.fields(_head(200, "text/event-stream")))
        for content_type in ("application/json", "text/plain", ""):
            self.assertNotIn(own, self.fields(_head(200, content_type)), content_type)
        for value in (b"no", b"yes"):
            theirs = _head(200, "text/event-stream", (b"x-ACCEL-buffering", value))
            names = [name.lower() for name, _ in self.fields(theirs)]
            self.assertEqual(names.count(b"x-accel-buffering"), 1)
            self.assertIn((b"x-ACCEL-buffering", value), self.fields(theirs))

    def test_no_candidate_left(self) -> None:
        """The last response says what was tried, and that another try would do the same."""
        for content_type in ("application/json", "text/html"):
            head = _head(429, content_type, (b"X-Should-Retry", b"true"))
            fields = self.fields(head, tried=b"a=status_503")
            self.assertEqual(
                fields[-2:],
                [(b"x-should-retry", b"false"), (b"x-chutes-autopilot-tried", b"a=status_503")],
            )
            self.assertNotIn((b"X-Should-Retry", b"true"), fields)
            self.assertEqual(self.fields(head, tried=b"")[-1], (b"x-should-retry", b"false"))

    def test_tried_models(self) -> None:
        """Each failed attempt in order, but none whose name a header could not hold."""
        names = ("org/a", "a\r\nb", "é", "", "org/b")
        failovers = [Failover(name, FailureReason("status_503"), 503, 1.0) for name in names]
        self.assertEqual(tried_models(failovers), b"org/a=status_503,org/b=status_503")
        self.assertEqual(tried_models(()), b"")

    def test_the_edges_own_limit(self) -> None:
        """The response forbids a retry where every further call prolongs the ban."""
        head = _head(429, "text/html", (b"X-Should-Retry", b"true"))
        self.assertEqual(
            self.fields(head, None), [(b"x-request-id", b"r"), (b"x-should-retry", b"false")]
        )
        plain = _head(429, "application/json", (b"X-Should-Retry", b"true"))
        self.assertIn((b"X-Should-Retry", b"true"), self.fields(plain))
