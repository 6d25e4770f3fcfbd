"""Which candidate is tried next, and how many are."""

from __future__ import annotations

from autopilot.routing.retry_policy import Policy
from tests.unit.relay.routers import ALIAS, Client, RouterTestCase, snapshot
from tests.unit.relay.upstreams import JSON, chunk, head, whole

CAPACITY = b'{"detail":"Infrastructure is at maximum capacity, try again later"}'
EXHAUSTED = b'{"detail":"exhausted all available targets to no avail"}'
CONTEXT = b'{"error":{"message":"This model\'s maximum context length is 10 tokens"}}'
NOT_FOUND = b'{"detail":"model not found: a"}'
CLOSE = b"Connection: close"


class AttemptTests(RouterTestCase):
    """Which candidate is tried, and how many are."""

    def test_max_attempts(self) -> None:
        """No more attempts than allowed; the last one's response is relayed."""
        self.build(max_attempts=2)
        client = self.ask(ALIAS)
        for _ in range(2):
            self.wire.says(whole(503, b"no", b"text/plain", CLOSE))
        self.assertEqual((client.down.status, client.down.body), (503, b"no"))
        self.assertEqual(self.models, ["a", "b"])
        self.assertEqual(self.reasons, ("status_503", "status_503"))

    def test_stale(self) -> None:
        """A reused connection that had been closed is replaced once, and that is no failover."""
        self.ask("a")
        self.streams()
        client = self.ask("a")
        self.wire.closes()
        self.assertEqual(len(self.upstreams.wires), 2)
        body = self.streams()
        self.assertEqual((client.down.body, client.down.ended), (body, "finish"))
        self.assertEqual((self.records[1].attempts, self.records[1].failovers), (1, ()))

    def test_stale_once(self) -> None:
        """The replacement is a fresh connection, even if others lie idle, and the last one."""
        first, second = self.ask("a"), self.ask("b")
        for wire in self.upstreams.wires:
            wire.says(whole(200, b"{}"))
        self.assertEqual((first.down.ended, second.down.ended), ("finish", "finish"))
        client = self.ask("a")
        self.wire.closes()
        self.assertEqual(len(self.upstreams.wires), 3)
        self.wire.closes()
        self.assert_refused(client, 502, "upstream_connect_error")
        self.assertEqual([each.reason for each in self.records[2].failovers], ["connection_lost"])

    def reuse(self, selector: str = "a", kind: bytes = b"text/plain") -> Client:
        """A request on a used connection, which gets a 408 by which the server closes it."""
        self.ask("a")
        self.streams()
        client = self.ask(selector)
        self.wire.says(whole(408, b"Request Timeout", kind, b"Connection: close"))
        return client

    def test_idle_for_too_long(self) -> None:
        """After a 408 on a reused connection the request goes out at once on a new one."""
        for selector, attempts in (("a", None), ("a,b", b"1"), (ALIAS, b"1")):
            self.build()
            client = self.reuse(selector)
            self.assertEqual((self.models, len(self.upstreams.wires)), (["a", "a", "a"], 2))
            self.assertTrue(self.upstreams.wires[0].aborted)
            body = self.streams()
            self.assertEqual((client.down.body, client.down.ended), (body, "finish"))
            self.assertEqual(client.down.field(b"x-chutes-autopilot-attempts"), attempts)
            self.assertEqual((self.records[1].attempts, self.records[1].failovers), (1, ()))
            self.assertEqual(dict(self.tables.breaker.of_clients), {})

    def test_idle_for_too_long_in_pieces(self) -> None:
        """The head suffices; what follows it on the old connection is dropped."""
        self.ask("a")
        self.streams()
        client = self.ask("a,b")
        self.wire.says(head(408, b"text/plain"), chunk(b"Request Timeout"))
        self.assertEqual((self.models, len(self.upstreams.wires)), (["a", "a", "a"], 2))
        body = self.streams()
        self.assertEqual((client.down.body, self.records[1].failovers), (body, ()))

    def test_408_on_a_new_connection(self) -> None:
        """On a new connection a 408 is the client's, also behind one on a reused connection."""
        client = self.ask("a,b")
        self.wire.says(whole(408, b"no", b"text/plain"))
        self.assertEqual((self.models, client.down.status), (["a"], 408))
        self.build()
        client = self.reuse("a,b")
        self.wire.says(whole(408, b"no", b"text/plain"))
        self.assertEqual((self.models, client.down.status), (["a", "a", "a"], 408))
        self.assertEqual((self.records[1].attempts, self.records[1].failovers), (1, ()))

    def test_408_under_strict(self) -> None:
        """The policy that repeats nothing relays it."""
        self.build(policy=Policy.STRICT)
        self.assertEqual(self.reuse("a,b").down.status, 408)
        self.assertEqual(self.models, ["a", "a"])

    def test_408_without_time(self) -> None:
        """At the total deadline there is no time for another try."""
        self.build(total=5.0)
        self.ask("a")
        self.streams()
        client = self.ask("a,b")
        self.clock.rightNow += 5.0  # before the timer has a turn
        self.wire.says(whole(408, b"no", b"text/plain"))
        self.assert_refused(client, 504, "upstream_total_timeout")
        self.assertEqual(self.models, ["a", "a"])

    def test_408_once_a_model(self) -> None:
        """The try is the one that a model has uncounted: there is none after another."""
        self.ask("a"), self.ask("a")
        for wire in self.upstreams.wires:
            wire.says(whole(200, b"{}"))
        client = self.ask("a")
        used = self.upstreams.wires[1]
        used.says(whole(500, b'{"error":{"message":"busy"}}'))
        self.clock.advance(0.25)
        used.says(whole(408, b"no", b"text/plain"))
        self.assertEqual((client.down.status, len(self.upstreams.wires)), (408, 2))

    def test_lost(self) -> None:
        """A fresh connection lost before its response, or in its head, is a failure."""
        for data in (b"", b"HTTP/1.1 2"):
            self.build()
            self.ask(ALIAS)
            if data:
                self.wire.says(data)
            self.wire.resets()
            self.assertEqual(self.models, ["a", "b"])

    def test_malformed(self) -> None:
        """What is no response is a failure."""
        client = self.ask("a,b")
        self.wire.says(b"HTTP/1.1 101 X\r\n\r\n")
        self.wire.says(b"SSH-2.0\r\n")
        self.assert_refused(client, 502, "upstream_connect_error")
        self.assertEqual(self.reasons, ("protocol_error",) * 2)

    def test_cooling_at_attempt_start(self) -> None:
        """A model that began to cool during the request goes behind the others."""
        self.ask(ALIAS)
        for client in (b"x", b"y", b"z"):
            self.tables.breaker.failed(client, "b", 1000.0, 0.0)
        for _ in range(3):
            self.wire.says(whole(503, b"", b"text/plain", CLOSE))
        self.assertEqual(self.models, ["a", "c", "b"])

    def test_larger_context(self) -> None:
        """A context that is exceeded leads once to a model known to read more, and to no other."""
        client = self.ask(ALIAS)
        self.wire.says(whole(400, CONTEXT, JSON, CLOSE))
        self.assertEqual(self.models, ["a", "c"])
        self.wire.says(whole(400, CONTEXT, JSON, CLOSE))
        self.assertEqual((client.down.status, client.down.body), (400, CONTEXT))
        self.assertEqual(self.reasons, ("context",))

    def test_context_once(self) -> None:
        """The second model that says so is believed, though a larger one is left."""
        self.snapshot = snapshot(a=1, b=2, c=3)
        client = self.ask(ALIAS)
        self.wire.says(whole(400, CONTEXT, JSON, CLOSE))
        self.wire.says(whole(400, CONTEXT, JSON, CLOSE))
        self.assertEqual((self.models, client.down.status), (["a", "b"], 400))

    def test_context_unknown(self) -> None:
        """Where no larger context is known the error is the client's."""
        for contexts in ({"a": None, "b": 5}, {"a": 5, "b": 5}, {"a": 5, "b": None}):
            self.snapshot = snapshot(**contexts)
            self.build()
            client = self.ask(ALIAS)
            self.wire.says(whole(400, CONTEXT))
            self.assertEqual((client.down.status, len(self.models)), (400, 1))

    def test_context_without_catalog(self) -> None:
        """Without a catalog nothing is known of contexts, and a list leads to one more model."""
        self.snapshot = type(self.snapshot)()
        client = self.ask("a,b,c")
        self.wire.says(whole(400, CONTEXT, JSON, CLOSE))
        self.wire.says(whole(400, CONTEXT))
        self.assertEqual((client.down.status, self.models), (400, ["a", "b"]))

    def test_context_unknown_in_a_list(self) -> None:
        """A list leads to the next model that is not known to read as little, once."""
        for contexts, models in (
            ({"a": None, "b": 5, "c": 5}, ["a", "b"]),
            ({"a": 5, "b": 5, "c": None}, ["a", "c"]),
            ({"a": 5, "b": 4, "c": 6}, ["a", "c"]),
            ({"a": 5, "b": 5, "c": 4}, ["a"]),
        ):
            self.snapshot = snapshot(**contexts)
            self.build()
            client = self.ask("a,b,c")
            for _ in models:
                self.wire.says(whole(400, CONTEXT, JSON, CLOSE))
            self.assertEqual((client.down.status, self.models), (400, models))
