"""Which licences were agreed to, and how a package may state its own."""

from __future__ import annotations

import contextlib
import io
import sys
from email.message import Message
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tools.licences import UNSTATED, agreed, licence_of, licences, main, page
from tools.locks import ROOT


def stated(**headers: str) -> Message:
    """Make metadata with these headers."""
    made = Message()
    for name, value in headers.items():
        made[name.replace("_", "-")] = value
    return made


class StatedTests(SynchronousTestCase):
    """From metadata to a verdict."""

    def test_how_it_is_stated(self) -> None:
        """An expression wins over words, and words over a classifier."""
        mit = "License :: OSI Approved :: MIT License"
        for expected, metadata in (
            ("BSD-3-Clause", stated(License_Expression="BSD-3-Clause", License="x")),
            ("Apache-2.0", stated(License="Apache License, Version 2.0")),
            ("MIT", stated(License="Copyright (c)\nand so on", Classifier=mit)),
            ("GPL-3.0-only", stated(License="GPL-3.0-only")),
            (UNSTATED, stated()),
        ):
            self.assertEqual(licence_of(metadata), expected)

    def test_what_was_agreed_to(self) -> None:
        """One alternative is enough, and all of its parts are needed; brackets are not read."""
        for expression in ("MIT", "GPL-3.0-only OR MIT", "Apache-2.0 AND BSD-2-Clause"):
            self.assertTrue(agreed(expression), expression)
        for expression in (
            "GPL-3.0-only",
            "MIT AND GPL-3.0-only",
            "GPL-3.0-only AND (X OR MIT OR Y)",
            "MIT WITH some-exception",
            "",
            UNSTATED,
        ):
            self.assertFalse(agreed(expression), expression)


class ListTests(SynchronousTestCase):
    """The list of this project, and lists with something planted."""

    def setUp(self) -> None:
        """Have a place for installed packages."""
        self.packages = Path(self.mktemp()).resolve()
        self.packages.mkdir(parents=True)
        self.patch(sys, "path", [str(self.packages), *sys.path])
        self.written = self.packages / "licences.md"

    def planted(self, licence: str, locked: str = "1.0") -> tuple[int, str]:
        """Lock a package that states a licence, and run the command."""
        info = self.packages / "planted-1.0.dist-info"
        info.mkdir(exist_ok=True)
        (info / "METADATA").write_text(
            f"Metadata-Version: 2.4\nName: planted\nVersion: 1.0\nLicense-Expression: {licence}\n"
        )
        lock = self.packages / "a.lock"
        lock.write_text(f"planted=={locked} --hash=sha256:{'0' * 64}\n")
        said = io.StringIO()
        with contextlib.redirect_stderr(said), contextlib.redirect_stdout(said):
            status = main([str(lock), str(self.written)])
        return status, said.getvalue()

    def test_the_committed_list(self) -> None:
        """It is of the lock as it is, and all in it were agreed to."""
        listed = licences(ROOT / "locks" / "private.txt")
        committed = (ROOT / "docs/licences.md").read_text("utf-8")
        self.assertTrue(page(listed) == committed, "docs/licences.md is old: run `make licences`")
        self.assertEqual([what for _pin, what in listed if not agreed(what)], [])

    def test_a_licence_that_was_not_agreed_to(self) -> None:
        """The package is named, and the list is written all the same, to be looked at."""
        status, said = self.planted("AGPL-3.0-only")
        self.assertEqual(status, 1)
        self.assertIn("planted 1.0: AGPL-3.0-only was not agreed to\n", said)
        self.assertIn("| planted | 1.0 | AGPL-3.0-only |\n", self.written.read_text())
        self.assertEqual(self.planted("MIT")[0], 0)

    def test_another_version(self) -> None:
        """What is installed says nothing about another version."""
        status, said = self.planted("MIT", locked="1.1")
        self.assertEqual(status, 1)
        self.assertIn("planted: 1.0 is installed, 1.1 locked", said)
        self.assertFalse(self.written.exists())

    def test_a_package_that_is_not_there(self) -> None:
        """Its licence cannot be found out, which is an error and names it."""
        lock = self.packages / "b.lock"
        lock.write_text(f"no-such-package-at-all==1.0 --hash=sha256:{'0' * 64}\n", "utf-8")
        said = io.StringIO()
        with contextlib.redirect_stderr(said):
            self.assertEqual(main([str(lock), str(self.written)]), 1)
        self.assertIn("no-such-package-at-all 1.0 is not installed", said.getvalue())
