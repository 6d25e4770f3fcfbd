"""Tests of the file of pinned measurements: its rows, and one line for each of its faults."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from unittest.mock import patch

from twisted.trial.unittest import SynchronousTestCase

from autopilot.attestation.measurements import parse_published, pin_file
from autopilot.measurement import MeasurementsError, parse_pinned
from autopilot.settings import Settings, SettingsError
from autopilot.settings.files.pins import PinFile, PinsSetting

SEEN = Path(__file__).parents[3] / "data" / "private" / "measurements_seen.json"


class PinsTests(SynchronousTestCase):
    """A file in a directory of its own."""

    def setUp(self) -> None:
        """Name the file, and have a row."""
        self.path = Path(self.mktemp())
        self.row: dict[str, Any] = json.loads(SEEN.read_bytes())[0]

    def faults(self, body: bytes | object) -> list[str]:
        """Return the lines for a file, without its name."""
        text = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.path.write_bytes(text)
        error = self.assertRaises(SettingsError, Settings, private_measurements=str(self.path))
        start = f"PRIVATE_MEASUREMENTS: {str(self.path)!a}: "
        for line in error.problems:
            self.assertTrue(line.startswith(start), line)
        return [line.removeprefix(start) for line in error.problems]

    def test_rows(self) -> None:
        """What `evidence --pin` writes is read, and is the setting's value; the path is shown."""
        rows = parse_published(SEEN.read_bytes())
        self.path.write_bytes(pin_file(rows))
        found = Settings(private_measurements=str(self.path)).private_measurements
        assert isinstance(found, PinFile)
        self.assertEqual({each.mrtd for each in found.rows}, {each.mrtd for each in rows})
        kind = PinsSetting()
        self.assertEqual(kind.show(found), str(self.path))
        self.assertIs(kind.check(found), found)

    def test_word(self) -> None:
        """The platform's own list is a word, in any case."""
        kind = PinsSetting()
        self.assertEqual(kind.parse("Published"), "published")
        self.assertEqual(kind.show("published"), "published")
        error = self.assertRaises(ValueError, kind.check, None)
        self.assertIn("nothing is given", str(error))

    def test_each_fault(self) -> None:
        """Each row that is faulty has its line, and the file is then not used at all."""
        bad = [
            1,
            {**self.row, "mrtd": "AB"},
            {**self.row, "gpu_count": True},
            {**self.row, "gpu_count": 65},
            {**self.row, "name": 'a"b'},
            {**self.row, "version": None},
            {**self.row, "runtime_rtmrs": []},
            {**self.row, "runtime_rtmrs": {**self.row["runtime_rtmrs"], "RTMR3": "G" * 96}},
        ]
        found = self.faults([self.row, *bad])
        self.assertEqual(
            [line.partition(":")[0] for line in found], [f"row {n}" for n in range(2, 10)]
        )
        self.assertIn("RTMR3 is not 96 hexadecimal digits", found[-1])

    def test_same_as_the_command(self) -> None:
        """The router finds the faults that `autopilot evidence --pin` finds, in its words."""
        for body in (
            b"",
            b"{}",
            b"\xff",
            b"[",
            b"[" * 3000,
            b"[]",
            json.dumps([self.row] * 4097).encode(),
            json.dumps([{}, None, {**self.row, "name": "x" * 101}]).encode(),
        ):
            error = self.assertRaises(MeasurementsError, parse_pinned, body)
            self.assertEqual(self.faults(body), list(error.lines), body[:20])

    def test_unreadable(self) -> None:
        """A file that is absurdly long, is none, or is gone meanwhile is refused."""
        self.assertEqual(self.faults(b" " * ((8 << 20) + 1)), [f"longer than {8 << 20} bytes"])
        error = self.assertRaises(SettingsError, Settings, private_measurements="/none")
        self.assertIn("is not a file", str(error))
        self.path.write_text("[]")
        with patch("builtins.open", side_effect=PermissionError(13, "Permission denied")):
            error = self.assertRaises(SettingsError, Settings, private_measurements=str(self.path))
        self.assertIn("Permission denied", str(error))
