"""How long an attempt may take while another candidate is left, and what a give-up says."""

from __future__ import annotations

from autopilot.routing.commit import Commit
from autopilot.state.latency import Pauses
from tests.unit.relay.routers import ALIAS, Client, RouterTestCase, snapshot
from tests.unit.relay.upstreams import DONE, JSON, ROLE, STOP, TOKEN, chunk, head, whole

ANSWER = b'{"choices":[{"message":{"content":"hi"}}]}'
UNAVAILABLE = whole(503, b"", JSON, b"Connection: close")


class AllowanceTestCase(RouterTestCase):
    """Three models, the first of which is mostly silent."""

    def passes(self, seconds: float, models: str) -> None:
        """Exactly after ``seconds`` these models have been asked, one more than before."""
        self.clock.advance(seconds - 0.01)
        self.assertEqual(self.models, list(models[:-1]))
        self.clock.advance(0.01)
        self.assertEqual(self.models, list(models))

    def knows(self, model: str, seconds: float) -> None:
        """Twenty plain answers of a model took so long."""
        for _ in range(20):
            self.tables.latency.answered(model, seconds)

    def pauses(self, model: str, seconds: float) -> None:
        """A model pauses for so long between any two parts of its answers."""
        pauses = Pauses()
        for _ in range(100):
            pauses.add(seconds)
        self.tables.latency.paused(model, pauses)


class PlainTests(AllowanceTestCase):
    """Answers that are not streams."""

    def setUp(self) -> None:
        """Allow time for two attempts and more."""
        super().setUp()
        self.build(total=3000.0)

    def answers(self, client: Client) -> None:
        """The model asked last answers, and the client gets it."""
        self.wire.says(whole(200, ANSWER))
        self.assertEqual((client.down.status, client.down.body), (200, ANSWER))

    def test_silent(self) -> None:
        """A silent model is given up after three minutes, and the next one answers."""
        client = self.ask("a,b", stream=False)
        self.passes(180, "ab")
        self.assertFalse(self.upstreams.wires[0].alive)
        self.answers(client)
        self.assertEqual(self.reasons, ("plain_timeout",))

    def test_completion_limit(self) -> None:
        """A second is added for each 100 tokens, up to half the deadline of one attempt."""
        for members, seconds in (
            ({"max_tokens": 4000}, 220),
            ({"max_completion_tokens": 1000, "max_tokens": 9000}, 190),
            ({"max_tokens": 1_000_000}, 480),
            ({"max_tokens": None}, 180),
        ):
            self.build(total=3000.0)
            self.ask("a,b", stream=False, **members)
            self.passes(seconds, "ab")

    def test_until_it_is_whole(self) -> None:
        """A head and a part of the answer do not stop that clock."""
        client = self.ask("a,b", stream=False)
        self.clock.advance(100)
        self.wire.says(whole(200, ANSWER)[:-4])
        self.passes(80, "ab")
        self.answers(client)
        self.assertEqual(self.reasons, ("plain_timeout",))

    def test_once(self) -> None:
        """An attempt after such a give-up has the full time, though a candidate is left."""
        client = self.ask("a,b,c", stream=False)
        self.passes(180, "ab")
        self.passes(600, "abc")
        self.answers(client)
        self.assertEqual(self.reasons, ("plain_timeout", "header_timeout"))

    def test_last(self) -> None:
        """The last candidate has the full time from the beginning."""
        client = self.ask("a", stream=False)
        self.clock.advance(599)
        self.answers(client)

    def test_slow_by_nature(self) -> None:
        """Once its times are known a model has three times its 95th percentile."""
        self.knows("a", 100.0)
        self.ask("a,b", stream=False, max_tokens=1_000_000)
        self.passes(300, "ab")

    def test_quick_by_nature(self) -> None:
        """Nor does it have less than the setting; the limit of the request adds nothing more."""
        self.knows("a", 1.0)
        self.ask("a,b", stream=False, max_tokens=1_000_000)
        self.passes(180, "ab")

    def test_learned(self) -> None:
        """Every plain answer is a sample, however it arrived, streams and errors are not."""
        says = (
            lambda: self.wire.says(whole(200, ANSWER)),
            lambda: self.wire.says(whole(200, ANSWER)[:-2], ANSWER[-2:]),
        )
        for turn in range(20):
            self.assertIsNone(self.tables.latency.plain_p95("a"))
            self.ask("a" if turn % 3 else "a,b", stream=False)
            self.clock.advance(7)
            says[turn % 2]()
        self.assertEqual(self.tables.latency.plain_p95("a"), 7.0)
        self.assertIsNone(self.tables.latency.p95("a"))
        for _ in range(20):
            self.ask("b")
            self.wire.says(whole(200, ANSWER))
            self.ask("b", stream=False)
            self.wire.says(whole(400, b"{}"))
        self.assertIsNone(self.tables.latency.plain_p95("b"))
        self.assertEqual(self.tables.latency.p95("b"), 0.0)

    def test_total_deadline(self) -> None:
        """Where the total deadline comes first no attempt is given up for another."""
        self.build(total=180.0)
        client = self.ask("a,b", stream=False)
        self.clock.advance(180)
        self.assert_refused(client, 504, "upstream_total_timeout")
        self.assertEqual((self.models, self.reasons), (["a"], ("total_deadline",)))


class DoublingTests(AllowanceTestCase):
    """The allowance of the attempts after one that ran out."""

    def test_doubled(self) -> None:
        """Each allowance that ran out doubles the next; the last candidate has the full time."""
        self.snapshot = snapshot(a=1000, b=1000, c=1000, d=1000)
        self.build(header=100.0, failover_after=10.0)
        client = self.ask("a,b,c,d")
        bytes_of_body = len(self.wire.value().split(b"\r\n\r\n")[1]) - len(b'"a"')
        allowance = 10 + bytes_of_body / 8000
        self.passes(allowance, "ab")
        self.passes(2 * allowance, "abc")
        self.passes(4 * allowance, "abcd")
        self.clock.advance(100)
        self.assert_refused(client, 504, "upstream_header_timeout")

    def test_not_by_other_failures(self) -> None:
        """A failure of another kind doubles nothing."""
        self.build(header=100.0, failover_after=10.0)
        self.ask("a,b,c")
        self.wire.says(UNAVAILABLE)
        self.clock.advance(10.1)
        self.assertEqual(self.models, ["a", "b", "c"])

    def test_between_bytes(self) -> None:
        """The time between the bytes of a held stream is doubled too."""
        self.build(commit=Commit.COMPLETE, failover_after=10.0)
        self.ask("a,b,c")
        self.clock.advance(10.1)
        self.wire.says(head(), chunk(TOKEN))
        self.clock.advance(20)
        self.assertEqual(self.models, ["a", "b"])
        self.clock.advance(0.2)
        self.assertEqual(self.models, ["a", "b", "c"])
        self.streams()
        self.assertEqual(self.reasons, ("header_timeout", "stalled"))


class CountTests(AllowanceTestCase):
    """Whether a give-up counts against its model."""

    def setUp(self) -> None:
        """Open the breaker at the first failure."""
        super().setUp()
        self.build(threshold=1)

    def cooling(self) -> set[str]:
        """The models that cool for the client."""
        return set().union(*self.tables.breaker.opened_for.values())

    def samples(self, model: str) -> int:
        """The number of times of a model that are known."""
        stats = self.tables.latency._models.get(model)
        return 0 if stats is None else len(stats.streams)

    def gives_up(self) -> Client:
        """A client for whom the first model is given up."""
        client = self.ask("a,b")
        self.clock.advance(12.1)
        self.assertEqual(self.models[-2:], ["a", "b"])
        return client

    def test_another_was_quicker(self) -> None:
        """It is a failure if a later candidate answers within the time that the model had."""
        self.gives_up()
        self.clock.advance(12)
        self.assertEqual(self.cooling(), set())
        self.streams()
        self.assertEqual(self.cooling(), {"a"})
        self.assertEqual((self.samples("a"), self.samples("b")), (0, 1))
        self.assertEqual(self.reasons, ("header_timeout",))

    def test_a_quicker_list_item(self) -> None:
        """It then counts for the client's list as well: its fallback is the first for a while."""
        self.gives_up()
        self.streams()
        self.ask("a,b")
        self.assertEqual(self.models[-1], "b")

    def test_another_was_no_quicker(self) -> None:
        """Otherwise it is no failure, and its time is one of the model's."""
        self.gives_up()
        self.clock.advance(12.2)
        self.streams()
        self.assertEqual(self.cooling(), set())
        self.assertEqual((self.samples("a"), self.samples("b")), (1, 1))
        self.ask("a,b")
        self.assertEqual(self.models[-1], "a")

    def test_none_answered(self) -> None:
        """Nor is it one where no other model answered, or only with an error."""
        for fails in (
            lambda: self.clock.advance(60),
            lambda: self.wire.says(UNAVAILABLE),
            lambda: self.wire.says(whole(400, b"{}", JSON, b"Connection: close")),
            lambda: self.wire.says(whole(200, b'{"error":{"message":"x"}}', JSON)),
            lambda: self.wire.says(whole(200, b"", JSON)),
            lambda: self.wire.resets(),
        ):
            self.build(threshold=1)
            self.gives_up()
            fails()
            self.assertNotIn("a", self.cooling())
            self.assertEqual(self.samples("a"), 1)

    def test_client_left(self) -> None:
        """A client that leaves before another could answer leaves nothing to learn."""
        self.gives_up().leaves()
        self.assertEqual(self.cooling(), set())
        self.assertEqual(self.samples("a"), 0)

    def test_several(self) -> None:
        """Each of several is compared with the answer by its own time."""
        self.ask("a,b,c")
        self.clock.advance(12.1)
        self.clock.advance(24.2)
        self.assertEqual(self.models, ["a", "b", "c"])
        self.clock.advance(20)
        self.streams()
        self.assertEqual(self.cooling(), {"b"})
        self.assertEqual((self.samples("a"), self.samples("b")), (1, 0))

    def test_first_content_counts(self) -> None:
        """Under ``complete`` the answer's first content is compared, not its end."""
        self.build(threshold=1, commit=Commit.COMPLETE)
        self.ask("a,b,c")
        self.clock.advance(12.1)
        self.wire.says(head(), chunk(TOKEN))
        for _ in range(3):
            self.clock.advance(10)
            self.wire.says(chunk(TOKEN))
        self.wire.says(chunk(STOP + DONE), chunk(b""))
        self.assertEqual(self.record.outcome, "completed")
        self.assertEqual(self.cooling(), {"a"})

    def test_stalled(self) -> None:
        """A stall is a failure, or one of the model's pauses."""
        for seconds, cooling in ((1.0, {"a"}), (20.0, set())):
            self.build(threshold=1, commit=Commit.COMPLETE)
            for _ in range(99):
                self.tables.latency.paused("a", Pauses(1))
            self.ask("a,b")
            self.wire.says(head(), chunk(TOKEN))
            self.clock.advance(12.1)
            self.clock.advance(seconds)
            self.streams()
            self.assertEqual(self.reasons, ("stalled",))
            self.assertEqual(self.cooling(), cooling)
            known = self.tables.latency.p99_pause("a")
            self.assertEqual(known is None, bool(cooling))
            self.assertEqual(self.samples("a"), 0)

    def test_plain(self) -> None:
        """The same holds for plain answers, which are compared when they are whole."""
        for seconds, cooling in ((180.0, {"a"}), (180.1, set())):
            self.build(threshold=1, total=3000.0)
            self.knows("a", 1.0)
            self.ask("a,b", stream=False)
            self.clock.advance(180)
            self.clock.advance(seconds)
            self.wire.says(whole(200, ANSWER))
            self.assertEqual(self.cooling(), cooling)
            known = self.tables.latency._models["a"].plain
            self.assertEqual(list(known)[20:], [] if cooling else [180.0])


class PauseTests(AllowanceTestCase):
    """Silence between the bytes of a stream."""

    def test_longest_by_nature(self) -> None:
        """After commit a model has five times its 99th percentile, two minutes at most."""
        for pause, idle in ((1.0, 45.0), (10.0, 50.0), (24.0, 120.0), (100.0, 120.0)):
            self.build(idle=45.0)
            self.pauses("a", pause)
            client = self.ask("a")
            self.wire.says(head(), chunk(TOKEN))
            self.clock.advance(idle - 0.01)
            self.wire.says(chunk(TOKEN))
            self.clock.advance(idle - 0.01)
            self.assertIsNone(client.down.ended)
            self.clock.advance(0.02)
            self.assertEqual(self.record.outcome, "upstream_idle")

    def test_held_with_none_left(self) -> None:
        """So it has while the stream is held with no candidate left."""
        self.build(idle=45.0, commit=Commit.COMPLETE)
        self.pauses("a", 10.0)
        client = self.ask("a")
        self.wire.says(head(), chunk(TOKEN))
        self.clock.advance(49.9)
        self.assertIsNone(client.down.ended)
        self.clock.advance(0.2)
        self.assert_refused(client, 502, "upstream_stream_interrupted")

    def test_held_with_a_candidate(self) -> None:
        """With a candidate left it has the allowance or that, whichever is more."""
        for pause, seconds in ((2.0, 12.02), (4.0, 20.0)):
            self.build(commit=Commit.COMPLETE)
            self.pauses("a", pause)
            self.ask("a,b")
            self.wire.says(head(), chunk(TOKEN))
            self.clock.advance(seconds - 0.02)
            self.assertEqual(self.models, ["a"])
            self.clock.advance(0.04)
            self.assertEqual(self.models, ["a", "b"])

    def learned(self, model: str = "a") -> tuple[int, dict[int, int]]:
        """Return the number of known pauses of a model, and the long ones in tenths of a second."""
        stats = self.tables.latency._models[model].pauses
        return stats.count, stats.long

    def test_learned(self) -> None:
        """Pauses are counted, whether the stream was held then or not."""
        for commit in Commit:
            self.build(commit=commit)
            client = self.ask("a,b")
            self.wire.says(head(), chunk(ROLE))
            for gap in (1.0, 0.05, 2.0, 0.0, 2.0):
                self.clock.advance(gap)
                self.wire.says(chunk(TOKEN))
            self.wire.says(chunk(STOP + DONE), chunk(b""))
            self.assertEqual(client.down.ended, "finish")
            count, long = self.learned()
            # With the terminator a stream that is not held is over.
            self.assertEqual(count, 6 if commit is Commit.COMPLETE else 5)
            self.assertEqual(long, {10: 1, 20: 2})

    def test_client_that_waits(self) -> None:
        """While the client reads nothing, the upstream's silence is the router's own doing."""
        client = self.ask("a")
        self.wire.says(head(), chunk(TOKEN))
        assert client.down.producer is not None
        client.down.producer.pauseProducing()
        self.clock.advance(30)
        client.down.producer.resumeProducing()
        self.clock.advance(3)
        self.wire.says(chunk(TOKEN), chunk(STOP + DONE), chunk(b""))
        self.assertEqual(self.learned(), (1, {30: 1}))

    def test_broken_answers(self) -> None:
        """An answer that broke takes its pauses back."""
        self.ask("a")
        self.wire.says(head(), chunk(TOKEN))
        self.clock.advance(3)
        self.wire.says(chunk(TOKEN))
        self.wire.resets()
        self.assertNotIn("a", self.tables.latency._models)

    def test_alias(self) -> None:
        """Each model has its own."""
        self.build(idle=45.0)
        self.pauses("b", 20.0)
        self.ask(ALIAS)
        self.wire.says(head(), chunk(TOKEN))
        self.clock.advance(46)
        self.assertEqual(self.record.outcome, "upstream_idle")
