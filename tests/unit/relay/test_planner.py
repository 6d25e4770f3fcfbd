"""Plans of requests: what earlier ones have left for them, and by what they are ordered."""

from __future__ import annotations

from autopilot.routing.snapshot import Snapshot
from tests.unit.relay.routers import ALIAS, RouterTestCase, ServingTestCase
from tests.unit.relay.upstreams import DONE, TOKEN, chunk, head, whole


class MemoryTests(ServingTestCase):
    """What one request leaves for the next."""

    def test_alias_sticks(self) -> None:
        """A client of the alias stays with the model that last answered."""
        self.assertEqual(self.serve(ALIAS, "a"), ["a", "b"])
        self.assertEqual(self.serve(ALIAS), ["b"])

    def test_alias_forgets(self) -> None:
        """A model that fails is not remembered."""
        self.serve(ALIAS, "a")
        self.assertEqual(self.serve(ALIAS, "b"), ["b", "a"])
        self.assertEqual(self.serve(ALIAS), ["a"])

    def test_list_order(self) -> None:
        """In a list the remembered model leads only while one before it has failed just now."""
        self.assertEqual(self.serve("c,b,a", "c"), ["c", "b"])
        self.assertEqual(self.serve("c,b,a"), ["b"])
        self.clock.advance(10)
        self.assertEqual(self.serve("c,b,a"), ["c"])
        self.assertEqual(self.serve("c,b,a"), ["c"])

    def test_selectors_apart(self) -> None:
        """What is remembered for one selector does not touch another one."""
        self.serve(ALIAS, "a")
        self.assertEqual(self.serve("a,b"), ["a"])

    def test_padding_changes_nothing(self) -> None:
        """A selector with any number of blanks or empty items is the same, and kept as a digest."""
        self.serve(ALIAS, "a")
        for padded in (ALIAS + " " * 60_000, "\t" * 30_000 + ALIAS, ALIAS.lower() + " \n"):
            self.assertEqual(self.serve(padded), ["b"])
        self.serve("c,b,a", "c")
        for padded in ("c,b,a" + "," * 60_000, "c" + " " * 60_000 + ",b,,a", "c,b,a,c"):
            self.assertEqual(self.serve(padded), ["b"])
        self.assertEqual([len(key[1]) for key in self.tables.affinity._entries], [16, 16])

    def test_names_of_absurd_length(self) -> None:
        """Tables, records and headers keep no more than a short mark of a name; it goes up."""
        self.snapshot = Snapshot()
        first, second = "x" * 30_000, "y" * 30_000
        for _ in range(3):
            self.ask(first)
            self.wire.says(whole(503, b"", b"text/plain", b"Connection: close"))
            self.clock.advance(0)
        self.assertEqual(self.wire.models, [first])
        self.assertEqual(self.serve(f"{first},{second}"), [second])
        self.ask(f"{first},z")
        self.assertEqual(self.wire.models[-1], "z")
        tables = self.tables
        kept = [
            *tables.breaker.breakers,
            *tables.breaker.opened_for[next(iter(tables.breaker.opened_for))],
            *(model for _, model in tables.breaker.of_clients),
            *tables.latency._models,
            *(entry.model or "" for entry in tables.affinity._entries.values()),
            *(model for entry in tables.affinity._entries.values() for model in entry.failed),
            *(record.model or "" for record in self.records),
            *(failed.model for record in self.records for failed in record.failovers),
        ]
        self.assertLess(max(map(len, kept)), 100)
        self.assertIn("x" * 64, "".join(kept))

    def test_direct_remembers_nothing(self) -> None:
        """A direct name leaves nothing to remember."""
        self.serve("a")
        self.assertEqual(len(self.tables.affinity), 0)

    def test_cooling(self) -> None:
        """Three failures in a row put a model behind the others, until it is probed by one."""
        for _ in range(3):
            self.ask("a")
            self.wire.says(whole(503, b"", b"text/plain", b"Connection: close"))
            self.clock.advance(0)
        self.assertEqual(self.serve(ALIAS, "b", "c"), ["b", "c", "a"])
        self.assertEqual(self.tables.breaker.opened_for, {})
        self.assertNotIn("a", self.tables.breaker.breakers)

    def test_probe(self) -> None:
        """A model whose pause is over is probed by one request; the next one passes it by."""
        for _ in range(3):
            self.ask("a")
            self.wire.says(whole(503, b"", b"text/plain", b"Connection: close"))
            self.clock.advance(0)
        self.clock.advance(10)
        self.ask(ALIAS)
        self.ask(ALIAS)
        self.assertEqual(self.models[-2:], ["a", "b"])

    def test_refused_requests_do_not_cool(self) -> None:
        """Errors that are the client's fault say nothing against a model."""
        for _ in range(3):
            self.ask("a")
            self.wire.says(whole(429, b"<html>", b"text/html"))
        self.assertEqual(self.tables.breaker.opened_for, {})
        self.assertEqual(dict(self.tables.breaker.breakers), {})

    def test_throughput_is_measured(self) -> None:
        """A stream of some length and duration leaves a rate and a time to first content."""
        self.ask(ALIAS)
        self.clock.advance(2)
        self.wire.says(head(), chunk(TOKEN))
        self.clock.advance(4)
        self.wire.says(chunk(TOKEN * 6), chunk(DONE))
        self.assertEqual(self.tables.latency.throughput(1006.0), {"a": 2.0})
        self.assertEqual(self.tables.latency.first_content(1006.0), {"a": 2.0})

    def test_tokens_are_counted_by_the_upstream(self) -> None:
        """Where the upstream says how many tokens there were, that counts, not the events."""
        self.ask(ALIAS)
        self.wire.says(head(), chunk(TOKEN))
        self.clock.advance(4)
        usage = b'data: {"choices":[],"usage":{"completion_tokens":80}}\n\n'
        self.wire.says(chunk(TOKEN + usage), chunk(DONE), chunk(b""))
        self.assertEqual(self.tables.latency.throughput(1004.0), {"a": 20.0})


class OrderTests(RouterTestCase):
    """Candidates ordered by this router's own measurements."""

    def test_measured_first(self) -> None:
        """The soonest, or the fastest, model is tried first where the suffix asks for it."""
        experience, now = self.tables.latency, self.clock.seconds()
        for model, seconds, per_second in (("a", 3.0, 90.0), ("b", 1.0, 10.0)):
            experience.started(model, seconds, now)
            experience.record_rate(model, per_second, now)
        for selector, first in (
            ("c,a,b", "c"),
            ("c,a,b:latency", "b"),
            ("c,b,a:throughput", "a"),
            (f"{ALIAS}:LATENCY", "b"),
        ):
            client = self.ask(selector)
            self.assertEqual(self.models[-1], first, selector)
            client.leaves()
