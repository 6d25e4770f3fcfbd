"""Tests of the figures of bursts."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from benchmarks.bursts import Burst, Figures, figures

MICROSECOND = 1000


def burst(*received: int) -> Burst:
    """Return a burst of which an event was sent in each of the first microseconds."""
    return [(sent * MICROSECOND, at * MICROSECOND) for sent, at in enumerate(received)]


class FiguresTests(SynchronousTestCase):
    """The figures of bursts that were served in one order or the other."""

    def test_in_order(self) -> None:
        """Events that leave in order overtake none."""
        self.assertEqual(figures([burst(10, 20, 30, 40)]), Figures(28.0, 23.5, 37.0, 28.0, 0.0))

    def test_latest_first(self) -> None:
        """The same bytes in the opposite order have the same mean and other percentiles."""
        found = figures([burst(40, 30, 20, 10)])
        self.assertEqual(found, Figures(29.0, 23.5, 40.0, 28.0, 1.0))

    def test_partly_overtaken(self) -> None:
        """Each pair of neighbours counts, whatever overtook them."""
        self.assertAlmostEqual(figures([burst(10, 30, 20, 40)]).overtaken, 1 / 3)

    def test_single(self) -> None:
        """An event alone has nothing to overtake."""
        self.assertEqual(figures([burst(10)]), Figures(10.0, 10.0, 10.0, 10.0, 0.0))

    def test_disturbed(self) -> None:
        """Bursts with a higher mean than the wanted share do not count."""
        calm, disturbed = burst(10, 20), burst(900, 910)
        self.assertEqual(figures([disturbed, calm, disturbed], share=0.4), figures([calm]))
        self.assertEqual(figures([calm, calm], share=0.01), figures([calm]))
