"""The parts of a command: all of them run, and one that fails is not overlooked."""

from __future__ import annotations

import contextlib
import io

from twisted.trial.unittest import SynchronousTestCase

from tools.parts import Done, main


class PartsTests(SynchronousTestCase):
    """Parts that end as their names say."""

    def outcome(self, *arguments: str) -> tuple[int, str]:
        """Run them; return the exit status and the text."""
        said = io.StringIO()
        with contextlib.redirect_stdout(said):
            status = main(
                list(arguments), lambda part: Done(part, f"{part}!\n", int(part == "bad"), 1.0)
            )
        return status, said.getvalue()

    def test_good(self) -> None:
        """The output and the time of each, and those of all."""
        status, said = self.outcome("one", "two")
        self.assertEqual(status, 0)
        for each in ("one!\n", "two!\n", "one                   1 s  ok\n", "\nall "):
            self.assertIn(each, said)

    def test_bad(self) -> None:
        """The parts after it run all the same."""
        status, said = self.outcome("--jobs", "1", "bad", "good")
        self.assertEqual(status, 1)
        self.assertIn("bad                   1 s  FAILED (1)\n", said)
        self.assertIn("good!\n", said)
