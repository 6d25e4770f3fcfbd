"""Properties of feeds that replicas share, whatever happens to replicas, store and feeds."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from autopilot.http.fetch_error import NETWORK, FetchError
from tests.unit.feeds.replicas import LEASE, UTILIZATION_EVERY, Replica, ReplicasTestCase

REPLICAS = 3
STEP = 0.25
# The longest that a replica whose own feed is well may have to go without news: it believes in the
# holder for a lease and an interval, and then fetches when its data is due.
PATIENCE = LEASE + 3 * UTILIZATION_EVERY

events = st.tuples(
    st.sampled_from(
        ("stop", "wake", "cut", "join", "full", "empty", "forget", "fail", "mend", "late", "prompt")
    ),
    st.integers(0, REPLICAS - 1),
    st.sampled_from((0.0, 1.0, 4.0, 11.0, 20.0, 40.0)),
)


class SharedFeedsProperties(ReplicasTestCase):
    """Three replicas to which anything happens."""

    def begin(self) -> None:
        """Start three replicas."""
        self.setUp()
        self.well_since = [0.0] * REPLICAS
        for _ in range(REPLICAS):
            self.replica()

    def happens(self, event: str, number: int) -> None:
        """Let something happen to the store or to one of the replicas."""
        one = self.replicas[number]
        match event:
            case "stop":
                one.moves = False
            case "wake" if not one.moves:
                one.moves = True
                one.clock.advance(self.server.clock.seconds() - one.clock.seconds())
            case "cut":
                one.store.go()
            case "join" if not one.store.available:
                one.store.come()
            case "full" | "empty":
                self.server.full = event == "full"
            case "forget":
                self.server.values.clear()
            case "fail":
                one.utilization.fails(FetchError(NETWORK, "connection refused"))
                one.broken = True
            case "mend":
                one.gives()
                one.broken = False
            case "late" | "prompt":
                self.server.delay = 10.0 if event == "late" else 0.0

    def pass_time(self, seconds: float) -> None:
        """Let time pass, and look at the replicas all the time."""
        for _ in range(round(seconds / STEP)):
            self.run_for(STEP, STEP)
            now = self.server.clock.seconds()
            for number, one in enumerate(self.replicas):
                if not one.moves or one.broken:
                    self.well_since[number] = now
                elif now - self.well_since[number] > PATIENCE:
                    self.assertLess(self.age(one), PATIENCE)

    def age(self, one: Replica) -> float:
        """Return the age of a replica's data."""
        fetched_at = one.status().fetched_at
        return PATIENCE if fetched_at is None else one.clock.seconds() - fetched_at

    @settings(max_examples=25)
    @given(st.lists(events, max_size=12))
    def test_always(self, happened: list[tuple[str, int, float]]) -> None:
        """No replica is without fresh data for long, and peace brings back one holder."""
        self.begin()
        for event, number, seconds in happened:
            self.happens(event, number)
            self.pass_time(seconds)
        for number in range(REPLICAS):
            for event in ("mend", "join", "wake", "empty", "prompt"):
                self.happens(event, number)
        self.pass_time(2 * LEASE + 2 * UTILIZATION_EVERY)
        self.assertEqual(sorted(self.roles()), ["holder", "reader", "reader"])
        before = len(self.fetches())
        self.pass_time(6 * UTILIZATION_EVERY)
        self.assertLessEqual(len(self.fetches()) - before, 7)
        for one in self.replicas:
            self.assertLess(self.age(one), 1.2 * UTILIZATION_EVERY)
            self.assertIsNone(one.status().last_error)
        for one in self.replicas:
            stopped = one.plane.stop()
            self.run_for(2.0, STEP)
            self.successResultOf(stopped)
            one.store.go()
            one.clock.advance(STEP)  # what was on its way arrives
            self.assertEqual(one.clock.getDelayedCalls(), [])
