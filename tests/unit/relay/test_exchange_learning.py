"""What the state tables learn from the end of an answer (contract §5 and §6, cooldown)."""

from __future__ import annotations

from autopilot.routing.commit import Commit
from tests.unit.relay.downstreams import INTERRUPTED
from tests.unit.relay.routers import ALIAS, Client, RouterTestCase
from tests.unit.relay.upstreams import DONE, JSON, STOP, TOKEN, chunk, head, whole

ERROR = b'data: {"error":{"message":"worker died"}}\n\n'
UNAVAILABLE = whole(503, b"", JSON, b"Connection: close")


class LearningTestCase(RouterTestCase):
    """Streams that begin well."""

    def streams_from(self, model: str, *says: bytes) -> Client:
        """A client whose stream has begun with one token."""
        client = self.ask(model)
        self.wire.says(head(), chunk(TOKEN), *map(chunk, says))
        return client

    def breaks_off(self, model: str) -> None:
        """A stream that is cut after its first token."""
        self.streams_from(model)
        self.wire.resets()

    def asked(self, model: str) -> str:
        """The model that a request goes to first."""
        client = self.ask(model)
        first = self.models[-1]
        client.leaves()
        return first


class CountTests(LearningTestCase):
    """What counts for the cooldown, and when."""

    def cooling(self) -> set[str]:
        """The models that cool for the one client."""
        return set().union(*self.tables.breaker.opened_for.values())

    def failures(self) -> dict[str, int]:
        """Return how often each model has failed the one client in a row."""
        of_clients = self.tables.breaker.of_clients.items()
        return {model: breaker.failures for (_, model), breaker in of_clients}

    def test_breaks_cool(self) -> None:
        """A model that breaks every answer after its first token is passed by."""
        for _ in range(3):
            self.assertEqual(self.cooling(), set())
            self.breaks_off(ALIAS)
        self.assertEqual(self.models, ["a"] * 3)
        self.assertEqual(self.cooling(), {"a"})
        self.assertEqual(self.asked(ALIAS), "b")

    def test_every_fault_of_the_upstream(self) -> None:
        """Silence and a reported error after commit count as a lost connection does."""
        for fault, outcome in (
            (lambda: self.wire.resets(), "upstream_broken"),
            (lambda: self.clock.advance(self.config.timeouts.idle), "upstream_idle"),
            (lambda: self.wire.says(chunk(b'{"error":{"message":"x"}}\n')), "upstream_error"),
        ):
            self.build(threshold=1)
            self.streams_from(ALIAS)
            fault()
            self.assertEqual(self.record.outcome, outcome)
            self.assertEqual(self.cooling(), {"a"}, outcome)

    def test_clients_do_not_count(self) -> None:
        """A client that leaves or takes nothing is neither a failure nor a success."""
        self.build(threshold=2)
        self.breaks_off("a")
        self.streams_from("a").leaves()
        self.assertEqual(self.failures(), {"a": 1})
        client = self.streams_from("a")
        assert client.down.producer is not None
        client.down.producer.pauseProducing()
        self.clock.advance(self.config.timeouts.idle)
        self.assertEqual(self.records[-1].outcome, "client_stalled")
        self.assertEqual(self.failures(), {"a": 1})

    def test_errors_do_not_count(self) -> None:
        """A relayed error whose body breaks off says nothing more, for or against the model."""
        self.build(threshold=2)
        self.breaks_off("a")
        for end in (self.wire.resets, lambda: self.wire.says(chunk(b""))):
            self.ask("a")
            self.wire.says(head(400, b"text/plain"), chunk(b"x"))
            end()
        self.clock.advance(0)
        self.assertEqual(self.failures(), {"a": 1})

    def test_errors_that_lead_to_the_next_model(self) -> None:
        """They count, though their status is a 4xx; a prompt that is too long does not."""
        for status, words, failures in (
            (429, b"Infrastructure is at maximum capacity", {"a": 1}),
            (404, b"model not found: a", {"a": 1}),
            (400, b"maximum context length is 1000 tokens", {}),
        ):
            self.build()
            self.ask("a,c")
            self.wire.says(whole(status, b'{"detail":"%b"}' % words))
            self.assertEqual((self.models, self.failures()), (["a", "c"], failures), status)

    def test_own_errors_outside_events(self) -> None:
        """A bare error that is the request's own counts against no model, wherever it stands."""
        bare = b'{"object":"error","message":"too long","type":"BadRequestError","code":400}\n'
        for before in (b"", TOKEN):
            for model in ("a", "a,b"):
                for commit in Commit:
                    self.build(commit=commit)
                    client = self.ask(model)
                    self.wire.says(head(), chunk(before + bare))
                    self.assertEqual((self.models, self.failures()), (["a"], {}))
                    self.assertEqual(client.down.body, before + INTERRUPTED)
                    self.assertEqual(
                        (self.record.outcome, self.record.reason), ("relayed_error", None)
                    )

    def test_errors_behind_a_whole_answer(self) -> None:
        """Once each choice has a finish reason, a bare error takes nothing from the answer."""
        self.streams_from("a", STOP + b'{"error":{"message":"x","code":400}}\n')
        self.assertEqual((self.record.outcome, self.failures()), ("completed", {}))

    def test_success_at_the_end(self) -> None:
        """A success counts when the answer ends, not when it is committed."""
        self.build(threshold=2)
        self.breaks_off("a")
        self.streams_from("a", STOP)
        self.assertEqual(self.failures(), {"a": 1})
        self.wire.says(chunk(DONE))
        self.assertEqual((self.failures(), dict(self.tables.breaker.breakers)), ({}, {}))

    def test_success_of_a_long_answer(self) -> None:
        """An answer that has flowed for `COOLDOWN_MS` is a success before it ends."""
        self.build(threshold=2)
        self.breaks_off("a")
        self.streams_from("a")
        for seconds, failures in ((9.9, {"a": 1}), (0.1, {})):
            self.clock.advance(seconds)
            self.wire.says(chunk(TOKEN))
            self.assertEqual(self.failures(), failures)
        self.wire.resets()
        self.assertEqual(self.failures(), {"a": 1})

    def test_errors_that_flow(self) -> None:
        """An error's body is no success, however long it flows."""
        self.build(threshold=2)
        self.breaks_off("a")
        self.ask("a")
        self.wire.says(head(400, b"text/plain"), chunk(b"x"))
        self.clock.advance(11)
        self.wire.says(chunk(b"x"), chunk(b""))
        self.assertEqual(self.failures(), {"a": 1})

    def test_samples_of_broken_answers(self) -> None:
        """An answer that breaks leaves no measurement; one that ends or is left leaves its own."""
        for end, measured, rates in (
            (lambda _: self.wire.resets(), {}, {}),
            (lambda _: self.wire.says(chunk(b"")), {}, {}),
            (lambda _: self.wire.says(chunk(DONE)), {"a": 2.0}, {"a": 2.25}),
            (lambda client: client.leaves(), {"a": 2.0}, {"a": 2.0}),
        ):
            self.build()
            client = self.ask(ALIAS)
            self.clock.advance(2)
            self.wire.says(head(), chunk(TOKEN))
            self.clock.advance(4)
            self.wire.says(chunk(TOKEN * 7))
            self.assertEqual(self.tables.latency.first_content(1006.0), {})
            end(client)
            self.assertEqual(self.tables.latency.first_content(1006.0), measured)
            self.assertEqual(self.tables.latency.throughput(1006.0), rates)

    def test_samples_of_attempts_that_fail(self) -> None:
        """Nor does an answer that was held and broke before commit."""
        self.ask(ALIAS, (b"X-Autopilot-Commit", b"complete"))
        self.wire.says(head(), chunk(TOKEN))
        self.wire.resets()
        self.clock.advance(3)
        self.streams()
        self.assertEqual(self.tables.latency.first_content(1003.0), {"b": 3.0})


class ClientsTests(LearningTestCase):
    """One client's failures, and those of several."""

    def refused_by(self, model: str, token: bytes, seconds: float = 0.0) -> None:
        """A direct request that the model answers with 503, after so many seconds."""
        self.ask(model, token=token)
        self.clock.advance(seconds)
        self.wire.says(UNAVAILABLE)
        self.clock.advance(0)

    def first(self, token: bytes) -> str:
        """The model that the client's request goes to first."""
        client = self.ask(ALIAS, token=token)
        first = self.models[-1]
        client.leaves()
        return first

    def test_one_client(self) -> None:
        """Its failures, direct names included, cool the model for this client alone."""
        for _ in range(20):
            self.refused_by("a", b"x")
        self.assertEqual((self.first(b"x"), self.first(b"y")), ("b", "a"))
        self.assertEqual(self.tables.breaker.open, frozenset())

    def test_different_clients(self) -> None:
        """Failures of `COOLDOWN_FAILURES` clients cool a model for all, until a success."""
        for token in (b"x", b"y", b"z"):
            self.assertEqual(self.first(b"other"), "a")
            self.refused_by("a", token)
        self.assertEqual((self.first(b"x"), self.first(b"other")), ("b", "b"))
        self.ask("a", token=b"y", stream=False)
        self.wire.says(whole(200, b"{}", JSON))
        self.assertEqual((self.first(b"x"), self.first(b"other")), ("a", "a"))

    def test_own_failures_outlive_successes_of_others(self) -> None:
        """A success ends the client's own cooling and the shared one, not that of other clients."""
        for _ in range(3):
            self.refused_by("a", b"x")
        for token, first in ((b"y", "b"), (b"x", "a")):
            self.ask("a", token=token, stream=False)
            self.wire.says(whole(200, b"{}", JSON))
            self.assertEqual(self.first(b"x"), first)

    def test_slow_failures(self) -> None:
        """A model whose failure took long cools for ten times as long, for five minutes at most."""
        for _ in range(3):
            self.refused_by("a", b"x", 2.0)
        self.clock.advance(19.9)
        self.assertEqual(self.first(b"x"), "b")
        self.clock.advance(0.1)
        self.assertEqual((self.first(b"x"), self.first(b"x")), ("a", "b"))
        self.refused_by("a", b"x", 55.0)
        self.clock.advance(299.9)
        self.assertEqual(self.first(b"x"), "b")
        self.clock.advance(0.1)
        self.assertEqual(self.first(b"x"), "a")

    def test_slow_failure_in_a_list(self) -> None:
        """The fallback of a list stays first for as long."""
        self.ask("a,b")
        self.clock.advance(5)
        self.wire.says(UNAVAILABLE)
        self.streams()
        self.clock.advance(49)
        self.assertEqual(self.asked("a,b"), "b")
        self.clock.advance(1)
        self.assertEqual(self.asked("a,b"), "a")

    def test_address(self) -> None:
        """A client without a key is known by its address, under direct names too."""
        for _ in range(3):
            self.refused_by("a", b"")
        self.assertEqual((self.first(b""), self.first(b"x")), ("b", "a"))


class AffinityTests(LearningTestCase):
    """Where the next request of a client goes after an answer broke."""

    def test_unstuck(self) -> None:
        """The client is not led back to the model that broke its answer."""
        self.ask(ALIAS)
        self.wire.says(UNAVAILABLE)
        self.streams()
        self.assertEqual(self.asked(ALIAS), "b")
        self.breaks_off(ALIAS)
        self.assertEqual(self.asked(ALIAS), "a")

    def test_the_item_behind(self) -> None:
        """In a list the item behind the broken one is first for `LIST_RETRY_MS`."""
        self.breaks_off("c,a,b")
        self.assertEqual(self.asked("c,a,b"), "a")
        self.assertEqual(self.asked("c,a"), "c")
        self.clock.advance(9)
        self.breaks_off("c,a,b")
        self.assertEqual(self.asked("c,a,b"), "b")
        self.clock.advance(1)
        self.assertEqual(self.asked("c,a,b"), "b")
        self.clock.advance(9)
        self.assertEqual(self.asked("c,a,b"), "c")

    def test_serving_item_stays(self) -> None:
        """The item behind stays first for that time when it has served."""
        self.breaks_off("c,a,b")
        self.ask("c,a,b")
        self.streams()
        self.clock.advance(9)
        self.assertEqual(self.asked("c,a,b"), "a")
        self.clock.advance(1)
        self.assertEqual(self.asked("c,a,b"), "c")
