"""Tests of ``import autopilot`` and its side effects."""

from __future__ import annotations

import subprocess
import sys

from twisted.trial.unittest import SynchronousTestCase

import autopilot
from autopilot.settings import Settings


class PackageTests(SynchronousTestCase):
    """The names for embedding applications."""

    def test_names(self) -> None:
        """Every public name can be imported from the package itself."""
        for name in autopilot.__all__:
            self.assertIsNotNone(getattr(autopilot, name))
        self.assertIs(autopilot.Settings, Settings)

    def test_other_names(self) -> None:
        """Any other name is an AttributeError, as for every module."""
        self.assertRaises(AttributeError, getattr, autopilot, "nothing_of_the_kind")

    def test_import_chooses_no_reactor(self) -> None:
        """Importing the package, and its settings, installs no reactor."""
        program = (
            "import sys, autopilot; autopilot.Settings\n"
            "sys.exit('twisted.internet.reactor' in sys.modules or 'klein' in sys.modules)"
        )
        path = autopilot.__path__[0].removesuffix("/autopilot")
        done = subprocess.run((sys.executable, "-c", program), cwd=path, check=False)
        self.assertEqual(done.returncode, 0)
