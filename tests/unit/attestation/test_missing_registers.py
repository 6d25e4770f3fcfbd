"""Tests of the registers that no row has."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from autopilot.attestation.missing_registers import MOST, MissingRegisters
from autopilot.attestation.quote import Quote
from autopilot.measurement import Measurement


def registers(*values: int) -> tuple[bytes, ...]:
    """Return five registers, each of one repeated byte."""
    return tuple(bytes([each]) * 48 for each in values)


def quote(*values: int) -> Quote:
    """Return a quote with these registers."""
    mrtd, *rtmrs = registers(*values)
    return Quote(b"", mrtd, tuple(rtmrs), b"", b"")


def row(*values: int) -> Measurement:
    """Return a row with these registers."""
    mrtd, *rtmrs = registers(*values)
    return Measurement("1", "name", mrtd, tuple(rtmrs), 8)


class MissingRegistersTests(SynchronousTestCase):
    """`MissingRegisters`."""

    def test_named(self) -> None:
        """Those are named that no row has; if each is in some row, all are."""
        missing = MissingRegisters()
        rows = [row(1, 2, 3, 4, 5), row(1, 9, 3, 4, 6)]
        missing.note(quote(1, 7, 3, 4, 5))
        missing.note(quote(1, 2, 3, 4, 6))
        self.assertEqual(
            missing.lacking(rows),
            (
                "RTMR0 " + "07" * 8,
                (
                    "MRTD 0101010101010101 RTMR0 0202020202020202 RTMR1 0303030303030303"
                    " RTMR2 0404040404040404 RTMR3 0606060606060606"
                ),
            ),
        )

    def test_no_more(self) -> None:
        """Once a row has them they are no longer missing."""
        missing = MissingRegisters()
        missing.note(quote(1, 7, 3, 4, 5))
        self.assertEqual(missing.lacking([row(1, 7, 3, 4, 5)]), ())

    def test_bounded(self) -> None:
        """The last ones are kept, each once."""
        missing = MissingRegisters()
        for value in (*range(MOST + 1), 1):
            missing.note(quote(value, 0, 0, 0, 0))
        found = missing.lacking([row(200, 0, 0, 0, 0)])
        self.assertEqual(len(found), MOST)
        self.assertEqual(found[-1], "MRTD " + "01" * 8)
