"""Tests of the platform's measurements, and of files of pinned ones."""

from __future__ import annotations

import json
from typing import Any

from msgspec import structs
from twisted.trial.unittest import SynchronousTestCase

from autopilot.attestation.measurements import (
    Measurement,
    MeasurementsError,
    matching,
    parse_pinned,
    parse_published,
    pin_file,
)
from autopilot.attestation.quote import Quote
from tests.unit.attestation.sealed import FOLDER

ROW: dict[str, Any] = {
    "version": "1.4.1",
    "name": "8xh200 [a/b]",
    "mrtd": "0a" * 48,
    "boot_rtmrs": {"RTMR0": "00" * 48},
    "runtime_rtmrs": {f"RTMR{place}": f"{place + 1:02X}" * 48 for place in range(4)},
    "expected_gpus": ["h200"],
    "gpu_count": 8,
}
MEASUREMENT = Measurement(
    "1.4.1", "8xh200 [a/b]", b"\x0a" * 48, tuple(bytes((n,)) * 48 for n in range(1, 5)), 8
)
FAULTS: tuple[tuple[Any, str], ...] = (
    (1, "not an object"),
    ({**ROW, "runtime_rtmrs": None}, "runtime_rtmrs is not an object"),
    ({**ROW, "runtime_rtmrs": {}}, "RTMR0 is not 96 hexadecimal digits"),
    (
        {**ROW, "runtime_rtmrs": {**ROW["runtime_rtmrs"], "RTMR3": "00" * 47}},
        "RTMR3 is not 96 hexadecimal digits",
    ),
    ({**ROW, "mrtd": "0g" * 48}, "mrtd is not 96 hexadecimal digits"),
    ({**ROW, "mrtd": "00" * 48 + "\n"}, "mrtd is not 96 hexadecimal digits"),
    ({**ROW, "mrtd": 5}, "mrtd is not 96 hexadecimal digits"),
    ({**ROW, "gpu_count": True}, "gpu_count is not a number up to 64"),
    ({**ROW, "gpu_count": -1}, "gpu_count is not a number up to 64"),
    ({**ROW, "gpu_count": 65}, "gpu_count is not a number up to 64"),
    ({**ROW, "gpu_count": None}, "gpu_count is not a number up to 64"),
    ({**ROW, "name": ""}, "name is not a text of up to 100 printable ASCII characters"),
    ({**ROW, "name": "x" * 101}, "name is not a text of up to 100 printable ASCII characters"),
    ({**ROW, "name": 'a"b'}, "name is not a text of up to 100 printable ASCII characters"),
    ({**ROW, "name": "a\\b"}, "name is not a text of up to 100 printable ASCII characters"),
    ({**ROW, "name": "a\r\nb"}, "name is not a text of up to 100 printable ASCII characters"),
    ({**ROW, "version": 1}, "version is not a text of up to 100 printable ASCII characters"),
)


def body(*rows: object) -> bytes:
    """Return a list of rows as JSON."""
    return json.dumps(rows).encode()


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

    def test_no_rows(self) -> None:
        """A file that pins nothing would refuse everything without a reason."""
        self.assertEqual(self.lines(b"[]"), ("no rows",))
        for text in (b"", b"{}", b"\xff"):
            self.assertEqual(self.lines(text), ("not a JSON list of rows",))

    def test_written(self) -> None:
        """A written file is read again: each row once, in one order."""
        other = structs.replace(MEASUREMENT, version="1.4.0", mrtd=bytes(48))
        renamed = structs.replace(MEASUREMENT, name="new name")
        written = pin_file([MEASUREMENT, other, renamed, other])
        self.assertEqual(parse_pinned(written), (other, renamed))
        self.assertEqual(written, pin_file([other, renamed]))
        self.assertTrue(written.endswith(b"]\n"))
        self.assertTrue(written.startswith(b'[\n  {\n    "version": "1.4.0",\n'))
        self.assertIn(b'"mrtd": "' + b"0A" * 48, written)
        self.assertIn(b'"RTMR1": "' + b"02" * 48, written)
        upper = structs.replace(MEASUREMENT, rtmrs=(b"\xab" * 48, *MEASUREMENT.rtmrs[1:]))
        self.assertIn(b'"RTMR0": "' + b"AB" * 48, pin_file([upper]))


class MatchTests(SynchronousTestCase):
    """The row of a quote."""

    def test_match(self) -> None:
        """All registers are equal; of equal rows, one with the number of GPUs is preferred."""
        quote = Quote(bytes(8), MEASUREMENT.mrtd, MEASUREMENT.rtmrs, bytes(32), bytes(32))
        smaller = structs.replace(MEASUREMENT, name="4x", gpu_count=4)
        rows = (MEASUREMENT, smaller)
        self.assertIs(matching(rows, quote, 8), MEASUREMENT)
        self.assertIs(matching(rows, quote, 4), smaller)
        self.assertIs(matching(rows, quote, 2), MEASUREMENT)
        self.assertIsNone(matching((), quote, 8))
        for place in range(5):
            registers = list(MEASUREMENT.registers)
            registers[place] = bytes(48)
            row = structs.replace(MEASUREMENT, mrtd=registers[0], rtmrs=tuple(registers[1:]))
            self.assertIsNone(matching((row,), quote, 8), place)
