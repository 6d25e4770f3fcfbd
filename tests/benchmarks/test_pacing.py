"""Tests of the wheel that sends the events of the upstream."""

from __future__ import annotations

from collections import Counter
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from benchmarks import pacing
from benchmarks.pacing import Stream, Wheel
from benchmarks.poller import Channel
from benchmarks.wire import templates

MILLISECOND = 1_000_000
SECOND = 1000 * MILLISECOND


class Discarding(Channel):
    """A connection that takes everything, and counts the events."""

    def __init__(self) -> None:
        super().__init__()
        self.events = 0
        self.send = self.count

    def count(self, data: Any, _flags: int = 0) -> int:
        """Take an event."""
        self.events += 1
        return len(data)


class WheelTests(SynchronousTestCase):
    """The wheel, with a clock that stands still while it works."""

    def setUp(self) -> None:
        """Stop the clock."""
        self.now = 5 * SECOND
        self.patch(pacing, "monotonic_ns", lambda: self.now)

    def run_for(self, streams: int, rate: int, seconds: float) -> tuple[list[int], Counter[int]]:
        """Return the sizes of all bursts, and how many streams had how many events."""
        wheel = Wheel(self.fail, self.fail, self.fail)
        channels = [Discarding() for _ in range(streams)]
        for channel in channels:
            wheel.add(Stream(channel, templates("bench/one"), rate, 1_000_000))
        bursts = []
        end = self.now + int(seconds * SECOND)
        while self.now < end:
            self.now += max(1, wheel.time_left())
            before = wheel.events
            wheel.turn()
            bursts.append(wheel.events - before)
        return bursts, Counter(each.events for each in channels)

    def test_rate(self) -> None:
        """Each stream gets its rate of events; the first is due in half to one and a half."""
        _, events = self.run_for(streams=400, rate=50, seconds=1.0)
        self.assertEqual(sum(events.values()), 400)
        self.assertLessEqual(set(events), {49, 50, 51})

    def test_spread(self) -> None:
        """Streams of one rate hardly share a moment: 20,000 events a second come by fives."""
        bursts, _ = self.run_for(streams=400, rate=50, seconds=0.1)
        self.assertLessEqual(max(bursts), 8)
        self.assertGreater(len([size for size in bursts if size]), 350)

    def test_backlog(self) -> None:
        """What is due after a long pause is sent in parts, between which others get a turn."""
        wheel = Wheel(self.fail, self.fail, self.fail)
        for _ in range(400):
            wheel.add(Stream(Discarding(), templates("bench/one"), 50, 1_000_000))
        self.now += 30 * MILLISECOND
        turns: list[int] = []
        while sum(turns) < 400:
            before = wheel.events
            wheel.turn()
            turns.append(wheel.events - before)
        self.assertLess(max(turns), 100)
