"""Tests of ``autopilot demo``; tests/stub_backend/test_demo.py plays it."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from autopilot.cli import demo
from tests.unit.cli.test_entry import said_by

_USUAL = {"stay": False, "port": 0, "by_make": False, "in_private": False}


class DemoTests(SynchronousTestCase):
    """The options, and the search for the demo."""

    def played(self, *words: str) -> dict[str, Any]:
        """Return the options with which a command line plays the demo."""
        options: dict[str, Any] = {}

        def play(**given: Any) -> int:
            options.update(given)
            return 7

        tour = SimpleNamespace(play=play)
        self.patch(demo, "import_tour", lambda _places: tour)
        self.assertEqual(said_by("demo", *words), (7, "", ""))
        return options

    def test_options(self) -> None:
        """They reach the demo, whose status is the command's."""
        self.assertEqual(self.played(), _USUAL)
        self.assertEqual(
            self.played("--by-make", "--stay", "--port", "8080"),
            {"stay": True, "port": 8080, "by_make": True, "in_private": False},
        )
        self.assertEqual(self.played("--private"), _USUAL | {"in_private": True})

    def test_ports(self) -> None:
        """A port that does not exist is one line."""
        for port in ("65536", "-1", "x", "²"):
            status, output, complaint = said_by("demo", f"--port={port}")
            self.assertEqual((status, output), (2, ""))
            self.assertEqual(
                complaint,
                "autopilot: argument --port: not a port up to 65535; see autopilot demo --help\n",
            )

    def test_absent(self) -> None:
        """An installation without the demo says so in one line."""
        self.assertIsNone(demo.import_tour((Path("nowhere"),)))
        self.patch(demo, "_PLACES", (Path("nowhere"),))
        status, output, complaint = said_by("demo")
        self.assertEqual((status, output), (2, ""))
        self.assertRegex(complaint, r"\Aautopilot: the demo is not part of this installation.*\n\Z")

    def test_places(self) -> None:
        """It is found beside the package, as in a checkout."""
        self.patch(sys, "path", [*sys.path])
        self.assertEqual(demo.import_tour(demo._PLACES).__name__, "stub_backend.demo.tour")
