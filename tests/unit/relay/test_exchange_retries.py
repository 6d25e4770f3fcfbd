"""Error responses: which ones are relayed, and which lead to the next candidate."""

from __future__ import annotations

from autopilot.routing.retry_policy import Policy
from tests.unit.relay.routers import ALIAS, RouterTestCase
from tests.unit.relay.upstreams import JSON, chunk, head, shaped, whole

CAPACITY = b'{"detail":"Infrastructure is at maximum capacity, try again later"}'
EXHAUSTED = b'{"detail":"exhausted all available targets to no avail"}'
CONTEXT = b'{"error":{"message":"This model\'s maximum context length is 10 tokens"}}'
NOT_FOUND = b'{"detail":"model not found: a"}'
CLOSE = b"Connection: close"


class VerdictTests(RouterTestCase):
    """Error responses under the three policies."""

    def outcome(
        self, policy: Policy, response: bytes, model: str = "a,b"
    ) -> tuple[int, int | None, tuple[str, ...]]:
        """Attempts, status and reasons when the first model answers so, and the second well."""
        self.build(policy=policy)
        client = self.ask(model, stream=False)
        self.wire.says(response)
        self.clock.advance(0)
        if client.down.ended is None:
            self.wire.says(whole(200, b"{}"))
        return (
            len(self.models),
            client.down.status,
            self.reasons,
        )

    def test_table(self) -> None:
        """Each response under strict, standard and open: relayed (its status) or next (200)."""
        strict, standard, every = Policy.STRICT, Policy.STANDARD, Policy.OPEN
        for response, reason, nexts in (
            (whole(503, b""), "status_503", {strict, standard, every}),
            (whole(502, b""), "status_502", {standard, every}),
            (whole(504, b""), "status_504", {standard, every}),
            (whole(429, CAPACITY), "capacity", {standard, every}),
            (whole(429, b'{"detail":"too many"}'), "status_429", {every}),
            (whole(429, b"<html>", b"text/html"), "status_429", {every}),
            (whole(500, EXHAUSTED), "status_500", {standard, every}),
            (whole(500, b'{"detail":"boom"}'), "status_500", {standard, every}),
            (whole(500, b'{"detail":{"message":"boom"}}'), "status_500", {every}),
            (whole(520, b""), "status_520", {standard, every}),
            (whole(529, b""), "status_529", {standard, every}),
            (whole(500, b"boom", b"text/plain"), "status_500", {every}),
            (whole(404, NOT_FOUND), "not_found", {standard, every}),
            (whole(401, b"{}"), "", set()),
            (whole(402, b"{}"), "", set()),
            (whole(422, b"{}"), "", set()),
            (whole(302, b"", JSON, b"Location: http://x/"), "", set()),
        ):
            for policy in Policy:
                status = int(response[9:12])
                wanted = (2, 200, (reason,)) if policy in nexts else (1, status, ())
                self.assertEqual(self.outcome(policy, response), wanted, (policy, response))

    def test_not_found(self) -> None:
        """An unknown model is a reason to go on, but not under its own name alone."""
        found = self.outcome(Policy.STANDARD, whole(404, NOT_FOUND), ALIAS)
        self.assertEqual(found, (2, 200, ("not_found",)))
        self.assertEqual(self.outcome(Policy.STANDARD, whole(404, NOT_FOUND), "a")[1], 404)

    def test_edge_limit(self) -> None:
        """The edge's own 429 goes to the client unchanged, and tells SDKs not to retry."""
        client = self.ask(ALIAS)
        self.wire.says(
            whole(429, b"<html>no</html>", b"text/html", b"Retry-After: 9", b"x-should-retry: true")
        )
        self.assertEqual((client.down.body, self.models), (b"<html>no</html>", ["a"]))
        self.assertEqual(client.down.field(b"x-should-retry"), b"false")
        self.assertEqual(client.down.field(b"retry-after"), b"9")

    def test_account_limit(self) -> None:
        """A JSON 429 has no such field added."""
        client = self.ask("a")
        self.wire.says(whole(429, b"{}"))
        self.assertIsNone(client.down.field(b"x-should-retry"))

    def test_last_response(self) -> None:
        """When candidates run out the last response is relayed, in a form that SDKs can read."""
        client = self.ask("a,b")
        self.wire.says(whole(503, b"first", b"text/plain", CLOSE))
        self.wire.says(whole(429, CAPACITY))
        self.assertEqual(
            (client.down.status, client.down.body), (429, shaped(CAPACITY, "rate_limit_error"))
        )
        self.assertEqual(client.down.field(b"x-chutes-autopilot-selected"), b"b")

    def test_large_error(self) -> None:
        """Deciding reads 64 KiB; then everything is relayed byte for byte, as it comes."""
        self.build(shape_errors=False)
        client = self.ask("a,b")
        self.wire.says(head(500, JSON), chunk(b"{" + b" " * 65534))
        self.assertIsNone(client.down.head)
        self.wire.says(chunk(b"x"))
        self.assertEqual(client.down.body, b"{" + b" " * 65534 + b"x")
        self.wire.says(chunk(b"rest"), chunk(b""))
        self.assertEqual(client.down.body[65536:], b"rest")
        self.assertEqual(client.down.ended, "finish")

    def test_slow_error(self) -> None:
        """An error body that is not complete after two seconds is relayed as it comes."""
        client = self.ask("a,b")
        self.wire.says(head(500, JSON), chunk(b'{"a":'))
        self.clock.advance(1.99)
        self.assertIsNone(client.down.head)
        self.clock.advance(0.01)
        self.assertEqual((client.down.status, client.down.body), (500, b'{"a":'))
        self.wire.says(chunk(b"1}"), chunk(b""))
        self.assertEqual((client.down.body, client.down.ended), (b'{"a":1}', "finish"))

    def test_broken_error(self) -> None:
        """A client's error whose body breaks off is relayed and cut, not retried."""
        client = self.ask("a,b")
        self.wire.says(head(400, JSON), chunk(b'{"a":'))
        self.wire.resets()
        self.assertEqual((client.down.status, client.down.body), (400, b'{"a":'))
        self.assertEqual((client.down.ended, self.models), ("cut", ["a"]))

    def test_pause(self) -> None:
        """Under `open` a short `Retry-After` is waited for once, then the next is tried."""
        self.build(policy=Policy.OPEN)
        client = self.ask("a,b")
        again = whole(429, b"{}", JSON, b"Retry-After: 5", CLOSE)
        self.wire.says(again)
        self.clock.advance(4.9)
        self.assertEqual(self.models, ["a"])
        self.clock.advance(0.1)
        self.wire.says(again)
        self.assertEqual(self.models, ["a", "a", "b"])
        self.wire.says(again)
        self.clock.advance(5)
        self.assertEqual(self.models, ["a", "a", "b", "b"])
        body = self.streams()
        self.assertEqual(client.down.body, body)
        self.assertEqual(client.down.field(b"x-chutes-autopilot-attempts"), b"4")

    def test_pause_too_long(self) -> None:
        """A longer one is not waited for."""
        self.build(policy=Policy.OPEN)
        self.ask("a,b")
        self.wire.says(whole(429, b"{}", JSON, b"Retry-After: 6", CLOSE))
        self.assertEqual(self.models, ["a", "b"])

    def test_pause_and_max_attempts(self) -> None:
        """The attempt after a pause counts."""
        self.build(policy=Policy.OPEN, max_attempts=1)
        client = self.ask("a,b")
        self.wire.says(whole(500, b"", b"text/plain", b"Retry-After: 0", CLOSE))
        self.assertEqual((client.down.status, self.models), (500, ["a"]))

    def test_pause_and_total_deadline(self) -> None:
        """The total deadline passes also during a pause."""
        self.build(policy=Policy.OPEN, total=3.0)
        client = self.ask("a,b")
        self.wire.says(whole(500, b"", b"text/plain", b"Retry-After: 5", CLOSE))
        self.clock.advance(3)
        self.assert_refused(client, 504, "upstream_total_timeout")
