"""Tests of the entries of a table: their names and members, and a line for each fault."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from autopilot.settings.files.document import Document
from autopilot.settings.files.entries import EntryTable, check_name
from autopilot.settings.files.toml_lines import Lines

TEXT = """\
[pets.cat]
legs = 4

[pets.dog]
name = "Rex"
"""


def _legs(value: object) -> int:
    if value != 4:
        raise ValueError("not four\nof them")
    return 4


PETS = EntryTable("pets", {"legs": _legs, "name": str}, {"legs": "a number of legs"})


class EntriesTests(SynchronousTestCase):
    """A table of pets."""

    def setUp(self) -> None:
        """Begin without a fault."""
        self.document = Document({}, Lines(TEXT))

    def read(self, entry: object, name: str = "cat") -> dict[str, Any] | None:
        """Return what is read of an entry."""
        return PETS.read(self.document, name, entry)

    def faults(self) -> list[str]:
        """Return the faults in the order in which they were found."""
        return [text for _line, text in self.document.faults]

    def test_valid(self) -> None:
        """A member is what its function reads; one that is not needed may be missing."""
        self.assertEqual(self.read({"legs": 4, "name": 7}), {"legs": 4, "name": "7"})
        self.assertEqual(self.read({"legs": 4}), {"legs": 4})
        self.assertEqual(self.faults(), [])

    def test_names(self) -> None:
        """A name has letters, digits and three other characters, and is never quoted."""
        for name in ("a", "A-1_b.c", "x" * 64):
            self.assertTrue(check_name(self.document, ("pets", name)))
        self.assertEqual(self.faults(), [])
        for name in ("", "x" * 65, "canary canary", "é", "a/b", "a\n"):
            self.document.faults.clear()
            self.assertIsNone(self.read({}, name))
            rule = "give letters, digits and ._- (64 at most)"
            self.assertEqual(self.faults(), [f"pets: a name is not valid; {rule}"])

    def test_no_table(self) -> None:
        """A value in the place of an entry is not quoted."""
        for value in ("canary", 4, ["canary"], True):
            self.document.faults.clear()
            self.assertIsNone(self.read(value))
            self.assertEqual(self.faults(), ["pets.cat: not a table; write [pets.cat]"])

    def test_unknown(self) -> None:
        """An unknown member has a suggestion, and is not quoted."""
        for member, value, hint in (
            ("leg", 4, "did you mean legs?"),
            ("canary", 4, "give legs, name"),
            ("canary", {"x": 1}, 'a name with a dot needs quotes: [pets."name.name"]'),
        ):
            self.document.faults.clear()
            self.assertEqual(self.read({"legs": 4, member: value}), {"legs": 4})
            self.assertEqual(self.faults(), [f"pets.cat: a member is not known; {hint}"])

    def test_problems(self) -> None:
        """Each problem of a member is a line of its own; the other members are read."""
        self.assertEqual(self.read({"legs": 3, "name": "x"}), {"name": "x"})
        self.assertEqual(self.faults(), ["pets.cat.legs: not four", "pets.cat.legs: of them"])

    def test_missing(self) -> None:
        """A member that is needed is asked for."""
        self.assertEqual(self.read({}), {})
        self.assertEqual(self.faults(), ["pets.cat.legs: missing; give a number of legs"])

    def test_places(self) -> None:
        """A fault has the line of its member, and one that is missing that of its entry."""
        self.read({"legs": 3})
        self.read({"name": "Rex"}, "dog")
        self.assertEqual([line for line, _text in self.document.faults], [2, 2, 4])
