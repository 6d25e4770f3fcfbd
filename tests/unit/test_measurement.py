"""Tests of rows of measurements: what a row may be, and a line for each fault of a list."""

from __future__ import annotations

from dataclasses import replace

from twisted.trial.unittest import SynchronousTestCase

from autopilot.measurement import MAX_ROWS, MeasurementsError, parse_pinned, parse_rows
from tests.unit.attestation.rows import FAULTS, MEASUREMENT, ROW, body


class RowTests(SynchronousTestCase):
    """The rows of a list."""

    def test_row(self) -> None:
        """The registers at run time count, in either case, and unknown members do not."""
        self.assertEqual(list(parse_rows(body(ROW))), [(MEASUREMENT, "")])
        self.assertEqual(MEASUREMENT.registers, (MEASUREMENT.mrtd, *MEASUREMENT.rtmrs))
        self.assertEqual(MEASUREMENT.label, "1.4.1 8xh200 [a/b]")

    def test_faults(self) -> None:
        """A row with a fault says which, and the others are read."""
        found = list(parse_rows(body(*(row for row, _fault in FAULTS), ROW)))
        self.assertEqual(found[:-1], [(None, fault) for _row, fault in FAULTS])
        self.assertEqual(found[-1], (MEASUREMENT, ""))

    def test_no_list(self) -> None:
        """What is no list of JSON has no row, and neither has a list that is too long."""
        for text in (b"", b"{}", b"null", b"\xff", b"[" * 5000):
            with self.assertRaisesRegex(MeasurementsError, "^not a JSON list of rows$"):
                list(parse_rows(text))
        self.assertEqual(len(list(parse_rows(body(*[1] * MAX_ROWS)))), MAX_ROWS)
        with self.assertRaisesRegex(MeasurementsError, f"^more than {MAX_ROWS} rows$"):
            list(parse_rows(body(*[1] * (MAX_ROWS + 1))))


class PinnedTests(SynchronousTestCase):
    """An operator's file."""

    def lines(self, text: bytes) -> tuple[str, ...]:
        """Return the faults of a file."""
        try:
            parse_pinned(text)
        except MeasurementsError as error:
            return error.lines
        raise AssertionError("no fault")

    def test_faults(self) -> None:
        """Each fault has one line, with the number of its row."""
        for row, fault in FAULTS:
            self.assertEqual(self.lines(body(ROW, row)), (f"row 2: {fault}",))
        expected = tuple(f"row {place}: {fault}" for place, (_, fault) in enumerate(FAULTS, 1))
        self.assertEqual(self.lines(body(*(row for row, _fault in FAULTS))), expected)
        with self.assertRaisesRegex(MeasurementsError, "^row 1: not an object\nrow 2: not an"):
            parse_pinned(body(1, 2))

    def test_rows(self) -> None:
        """Rows are read in their order, and a row may stand there twice."""
        other = {**ROW, "gpu_count": 4}
        found = parse_pinned(body(other, ROW, ROW))
        self.assertEqual(found, (replace(MEASUREMENT, gpu_count=4), MEASUREMENT, MEASUREMENT))

    def test_no_rows(self) -> None:
        """A file that pins nothing would refuse everything without a reason."""
        self.assertEqual(self.lines(b"[]"), ("no rows",))
        for text in (b"", b"{}", b"\xff"):
            self.assertEqual(self.lines(text), ("not a JSON list of rows",))
