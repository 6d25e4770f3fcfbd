"""Tests of the choice of a worker, for any loads."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from autopilot.process.balance import Load, least_loaded

_LOADS = st.lists(
    st.none() | st.builds(Load, st.integers(0, 3), st.integers(0, 5)), min_size=1, max_size=8
)


class BalanceTests(SynchronousTestCase):
    """One choice, and many in a row."""

    @given(_LOADS, st.integers(-1, 7))
    def test_least(self, loads: list[Load | None], last: int) -> None:
        """No worker that takes connections has less to do than the chosen one."""
        chosen = least_loaded(loads, min(last, len(loads) - 1))
        taking = [load for load in loads if load is not None]
        if chosen is None:
            self.assertEqual(taking, [])
        else:
            self.assertEqual(loads[chosen], min(taking))

    @given(_LOADS, st.integers(-1, 7))
    def test_first_behind_the_last(self, loads: list[Load | None], last: int) -> None:
        """None of the equals between the last worker and the chosen one was passed over."""
        last = min(last, len(loads) - 1)
        chosen = least_loaded(loads, last)
        if chosen is not None:
            step = last + 1
            while step % len(loads) != chosen:
                self.assertNotEqual(loads[step % len(loads)], loads[chosen])
                step += 1

    def test_requests_first(self) -> None:
        """A stream weighs more than any number of idle connections, and those decide a tie."""
        self.assertEqual(least_loaded([Load(1, 1), Load(0, 900)], 0), 1)
        self.assertEqual(least_loaded([Load(2, 9), Load(2, 8)], 1), 1)

    @given(st.integers(1, 8), st.integers(0, 60), st.data())
    def test_streams_are_even(self, workers: int, streams: int, data: st.DataObject) -> None:
        """Streams that last are even to within one, whatever idle connections there are."""
        idle = data.draw(st.lists(st.integers(0, 99), min_size=workers, max_size=workers))
        requests, last = [0] * workers, -1
        for _ in range(streams):
            loads = [
                Load(count, count + resting) for count, resting in zip(requests, idle, strict=True)
            ]
            chosen = least_loaded(loads, last)
            assert chosen is not None
            requests[chosen] += 1
            last = chosen
        self.assertLessEqual(max(requests) - min(requests), 1)

    @given(st.integers(0, 40))
    def test_turns(self, connections: int) -> None:
        """Connections that stay idle are even to within one, and workers without any take turns."""
        held, last, order = [0] * 4, -1, []
        for _ in range(connections):
            last = least_loaded([Load(0, count) for count in held], last) or 0
            held[last] += 1
            order.append(last)
        self.assertLessEqual(max(held) - min(held), 1)
        self.assertEqual(order, [step % 4 for step in range(connections)])
