"""Tests of a row of the table of settings, and of the error that lists what is wrong."""

from __future__ import annotations

from dataclasses import replace

from twisted.trial.unittest import SynchronousTestCase

from autopilot.settings.declaration import Setting, SettingsError, problem_of
from autopilot.settings.types import Integer

ROW = Setting("MAX_WORDS", "7", "How many words.", Integer(1, 9), False, False, False)


class SettingTests(SynchronousTestCase):
    """One row."""

    def test_names(self) -> None:
        """The variable's name gives those of the field and of the option."""
        self.assertEqual((ROW.field, ROW.option), ("max_words", "max-words"))

    def test_spellings(self) -> None:
        """Only a variable that other programs read may be written in lower case, which counts."""
        self.assertEqual(ROW.spellings, ("MAX_WORDS",))
        self.assertEqual(replace(ROW, lower_case=True).spellings, ("max_words", "MAX_WORDS"))

    def test_parse(self) -> None:
        """The type reads the value, and says what is wrong with it."""
        self.assertEqual(ROW.parse("3"), 3)
        with self.assertRaises(ValueError) as caught:
            ROW.parse("10")
        with self.assertRaises(ValueError) as own:
            Integer(1, 9).parse("10")
        self.assertEqual(str(caught.exception), str(own.exception))


class ErrorTests(SynchronousTestCase):
    """What is wrong."""

    def test_problem(self) -> None:
        """Each line begins with the variable's name."""
        self.assertEqual(problem_of("PORT", ValueError("not a number")), "PORT: not a number")
        self.assertEqual(
            problem_of("PINS", ValueError("row 1: bad\nrow 2: bad")),
            "PINS: row 1: bad\nPINS: row 2: bad",
        )

    def test_error(self) -> None:
        """The error's problems are single lines, and its text is all of them."""
        error = SettingsError(("A: x", "B: y\nB: z"))
        self.assertEqual(error.problems, ("A: x", "B: y", "B: z"))
        self.assertEqual(str(error), "A: x\nB: y\nB: z")
        self.assertIsInstance(error, ValueError)
