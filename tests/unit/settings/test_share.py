"""Tests of the number of workers, and of what each gets of the router's limits."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from autopilot.settings import Settings, SettingsError, load_settings, settings_warnings
from autopilot.settings.share import number_of_workers, share


class NumberTests(SynchronousTestCase):
    """`WORKERS`."""

    def test_forms(self) -> None:
        """A number from 1 to 64, or the word; anything else is one line."""
        for text, value in (("1", 1), ("64", 64), ("auto", "auto"), ("AUTO", "auto")):
            self.assertEqual(load_settings({}, {"WORKERS": text}, {}).workers, value)
        for text in ("0", "65", "-1", "many", "1.5"):
            with self.assertRaises(SettingsError) as caught:
                load_settings({}, {"WORKERS": text}, {})
            (line,) = caught.exception.problems
            self.assertIn("WORKERS: ", line)
            self.assertIn("give auto or 1 to 64", line)

    def test_number(self) -> None:
        """`auto` is the number of cores, at most 64; each worker has a request of its own."""
        auto = Settings(workers="auto")
        self.assertEqual([number_of_workers(auto, cores) for cores in (1, 3, 200)], [1, 3, 64])
        self.assertEqual(number_of_workers(Settings(workers=5), 1), 5)
        self.assertEqual(number_of_workers(Settings(workers=5, max_concurrent_requests=2), 8), 2)

    def test_warning(self) -> None:
        """It is said if the workers may hold more bytes together than the router."""
        few = Settings(workers=4, max_buffered_bytes=100, max_request_bytes=30)
        self.assertIn("WORKERS=4", "".join(settings_warnings(few)))
        for fine in (Settings(workers=3, max_buffered_bytes=100, max_request_bytes=30), Settings()):
            self.assertNotIn("WORKERS", "".join(settings_warnings(fine)))


class ShareTests(SynchronousTestCase):
    """Limits of the router are not those of each worker."""

    @given(st.integers(1, 64), st.integers(64, 10_000), st.integers(0, 2000), st.integers(1, 64))
    def test_sums(self, workers: int, requests: int, pool: int, body: int) -> None:
        """All shares together are exactly the whole, and no worker has much more than another."""
        whole = Settings(
            max_concurrent_requests=requests,
            max_buffered_bytes=64 * body + requests,
            max_request_bytes=body,
            upstream_pool_size=pool,
        )
        parts = [share(whole, index, workers) for index in range(workers)]
        for name in ("max_concurrent_requests", "max_buffered_bytes", "upstream_pool_size"):
            values = [getattr(part, name) for part in parts]
            self.assertEqual(sum(values), getattr(whole, name))
            self.assertLessEqual(max(values) - min(values), 1)
        self.assertGreaterEqual(min(part.max_concurrent_requests for part in parts), 1)

    def test_room_for_one_body(self) -> None:
        """A worker may hold one body of the largest size, unless the router itself may not."""
        whole = Settings(max_buffered_bytes=100, max_request_bytes=60)
        self.assertEqual(share(whole, 0, 4).max_buffered_bytes, 60)
        small = Settings(max_buffered_bytes=50, max_request_bytes=60)
        self.assertEqual(share(small, 0, 4).max_buffered_bytes, 50)

    def test_one(self) -> None:
        """The only worker gets everything."""
        self.assertEqual(share(Settings(), 0, 1), Settings())
