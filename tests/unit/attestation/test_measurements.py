"""Tests of the platform's list of measurements, of a file to pin, and of the row of a quote."""

from __future__ import annotations

import json
from dataclasses import replace

from twisted.trial.unittest import SynchronousTestCase

from autopilot.attestation.measurements import matching, parse_published, pin_file
from autopilot.attestation.quote import Quote
from autopilot.measurement import MeasurementsError, parse_pinned
from tests.unit.attestation.rows import FAULTS, MEASUREMENT, ROW, body
from tests.unit.attestation.sealed import FOLDER


class PublishedTests(SynchronousTestCase):
    """The platform's own list."""

    def test_row(self) -> None:
        """The registers at run time count, and unknown members do not."""
        self.assertEqual(parse_published(body(ROW)), (MEASUREMENT,))
        self.assertEqual(MEASUREMENT.label, "1.4.1 8xh200 [a/b]")

    def test_seen(self) -> None:
        """Of the rows that the platform has published, all complete ones are read."""
        listed = json.loads((FOLDER / "measurements_seen.json").read_text())
        rows = parse_published(json.dumps(listed).encode())
        self.assertEqual((len(listed), len(rows)), (36, 36))
        self.assertEqual({each.gpu_count for each in rows}, {each["gpu_count"] for each in listed})

    def test_faults(self) -> None:
        """A row with a fault is left out."""
        rows = [row for row, _fault in FAULTS]
        self.assertEqual(parse_published(body(*rows, ROW)), (MEASUREMENT,))

    def test_nothing(self) -> None:
        """A list without a readable row is an error, and not an empty list."""
        for text in (b"", b"{}", b"[]", b"null", body(1), b"\xff", b"[" * 5000):
            with self.assertRaises(MeasurementsError) as caught:
                parse_published(text)
            fault = "no row can be read" if text in (b"[]", body(1)) else "not a JSON list of rows"
            self.assertEqual(caught.exception.lines, (fault,))

    def test_size(self) -> None:
        """A list has at most 4096 rows."""
        self.assertEqual(len(parse_published(body(*[ROW] * 4096))), 4096)
        with self.assertRaisesRegex(MeasurementsError, "^more than 4096 rows$"):
            parse_published(body(*[ROW] * 4097))

    def test_counts(self) -> None:
        """A machine may have no GPU, and has at most 64."""
        for count in (0, 64):
            (row,) = parse_published(body({**ROW, "gpu_count": count}))
            self.assertEqual(row.gpu_count, count)


class PinFileTests(SynchronousTestCase):
    """A file of rows to pin."""

    def test_written(self) -> None:
        """A written file is read again: each row once, in one order."""
        other = replace(MEASUREMENT, version="1.4.0", mrtd=bytes(48))
        renamed = replace(MEASUREMENT, name="new name")
        written = pin_file([MEASUREMENT, other, renamed, other])
        self.assertEqual(parse_pinned(written), (other, renamed))
        self.assertEqual(written, pin_file([other, renamed]))
        self.assertTrue(written.endswith(b"]\n"))
        self.assertTrue(written.startswith(b'[\n  {\n    "version": "1.4.0",\n'))
        self.assertIn(b'"mrtd": "' + b"0A" * 48, written)
        self.assertIn(b'"RTMR1": "' + b"02" * 48, written)
        upper = replace(MEASUREMENT, rtmrs=(b"\xab" * 48, *MEASUREMENT.rtmrs[1:]))
        self.assertIn(b'"RTMR0": "' + b"AB" * 48, pin_file([upper]))


class MatchTests(SynchronousTestCase):
    """The row of a quote."""

    def test_match(self) -> None:
        """All registers are equal; of equal rows, one with the number of GPUs is preferred."""
        quote = Quote(bytes(8), MEASUREMENT.mrtd, MEASUREMENT.rtmrs, bytes(32), bytes(32))
        smaller = replace(MEASUREMENT, name="4x", gpu_count=4)
        rows = (MEASUREMENT, smaller)
        self.assertIs(matching(rows, quote, 8), MEASUREMENT)
        self.assertIs(matching(rows, quote, 4), smaller)
        self.assertIs(matching(rows, quote, 2), MEASUREMENT)
        self.assertIsNone(matching((), quote, 8))
        for place in range(5):
            registers = list(MEASUREMENT.registers)
            registers[place] = bytes(48)
            row = replace(MEASUREMENT, mrtd=registers[0], rtmrs=tuple(registers[1:]))
            self.assertIsNone(matching((row,), quote, 8), place)
