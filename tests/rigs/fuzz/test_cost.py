"""The oracle of costs, with a clock and a measure of memory that the tests control."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from twisted.trial.unittest import SynchronousTestCase

from tests.rigs.fuzz.cost import Budget, CostError, Oracle, traced_peak
from tests.rigs.fuzz.shapes import LARGE, Shape, shape, size_of

_BUDGET = Budget(seconds=1.0, seconds_per_kib=1.0, memory=1000, memory_per_byte=1)


class _Costs:
    """A target whose calls take the given seconds, and whose peaks are given, too."""

    def __init__(self, *seconds: float, peaks: Sequence[int] = (0, 0, 0, 0)) -> None:
        self.seconds = list(seconds)
        self.peaks = list(peaks)
        self.now = 0.0
        self.calls = 0

    def run(self, data: bytes) -> None:
        self.calls += 1
        self.now += self.seconds.pop(0) if self.seconds else 0.0

    def peak(self, run: Callable[[], None]) -> int:
        run()
        return self.peaks.pop(0)

    def oracle(self) -> Oracle:
        return Oracle(self.run, _BUDGET, clock=lambda: self.now, peak=self.peak)


def _allocate() -> None:
    bytes(1 << 20)


class TimeTests(SynchronousTestCase):
    """Processor time."""

    def test_within(self) -> None:
        """The budget has a constant and a part for the size, which may be used up."""
        _Costs(2.0).oracle()(b"x" * 1024)
        _Costs(1.0).oracle()(b"")

    def test_exceeded(self) -> None:
        """An input that is dear each of four times is reported with its cost and its budget."""
        costs = _Costs(5.0, 4.0, 3.0, 4.0)
        error = self.assertRaises(CostError, costs.oracle(), b"x" * 1024)
        self.assertEqual(str(error), "1024 bytes cost 3.000 s; the budget is 2.000 s")
        self.assertEqual(costs.calls, 4)

    def test_noise(self) -> None:
        """An input that is cheap at any further time is not reported."""
        _Costs(5.0, 5.0, 5.0, 2.0).oracle()(b"x" * 1024)

    def test_size(self) -> None:
        """The size is that of the bytes that the input stands for."""
        data = shape(b"a", b"bc", b"d", LARGE)
        self.assertEqual(size_of(data), len(Shape.of(data).grown))
        Oracle(lambda _: None, _BUDGET, size_of)(data)


class MemoryTests(SynchronousTestCase):
    """Memory, which is traced for the dearest inputs so far and some others."""

    def test_exceeded(self) -> None:
        """A peak over the budget each of three times is reported."""
        costs = _Costs(0.5, peaks=(1013, 1012, 1011))
        error = self.assertRaises(CostError, costs.oracle(), b"x" * 10)
        self.assertIn("10 bytes cost more than 1010 bytes of memory", str(error))

    def test_within(self) -> None:
        """A peak within the budget at any time is not reported."""
        _Costs(0.5, peaks=(1012, 1011, 1010)).oracle()(b"x" * 10)

    def test_sampled(self) -> None:
        """The first input and every 64th are traced, if none is dearer."""
        costs = _Costs(0.5)
        oracle = costs.oracle()
        for _ in range(65):
            oracle(b"")
        self.assertEqual((costs.calls, len(costs.peaks)), (67, 2))

    def test_traced(self) -> None:
        """The peak is that of the call."""
        self.assertGreater(traced_peak(_allocate), 1 << 20)
        self.assertLess(traced_peak(lambda: None), 1 << 16)


class ShapeTests(SynchronousTestCase):
    """Inputs that grow."""

    def test_grown(self) -> None:
        """The unit is repeated up to the size; the other parts stay."""
        given = Shape.of(shape(b"<", b"ab", b">"))
        self.assertEqual(given.grown, b"<" + b"ab" * 8192 + b">")
        self.assertEqual(len(Shape.of(shape(b"", b"a", b"", LARGE)).grown), 131_072)

    def test_anything(self) -> None:
        """Every input can be decoded; one without a unit does not grow."""
        self.assertEqual(Shape.of(b"").grown, b"")
        self.assertEqual(Shape.of(b"\x00a\xff\xffb").grown, b"ab")
        self.assertEqual(Shape.of(b"\x00a\xffb\xffc\xffd").after, b"c\xffd")
