"""Tests of ``autopilot keys new``: the key, and the entry that knows it."""

from __future__ import annotations

import io
from argparse import Namespace
from contextlib import redirect_stderr, redirect_stdout
from hashlib import sha256
from pathlib import Path

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from autopilot.cli import keys
from autopilot.cli.console import CommandError
from autopilot.settings.files.keys import KeysFile, KeysSetting


class NewTests(SynchronousTestCase):
    """A new key."""

    def made(self, name: str) -> tuple[str, str]:
        """Return the entry and what standard error has, for a name."""
        output, errors = io.StringIO(), io.StringIO()
        with redirect_stdout(output), redirect_stderr(errors):
            running = Deferred.fromCoroutine(keys.run(None, Namespace(name=name)))
            self.assertEqual(self.successResultOf(running), 0)
        return output.getvalue(), errors.getvalue()

    def test_entries(self) -> None:
        """Appended to a file, the entries know the keys, which they do not hold."""
        first, key_of_first = self.made("alice")
        second, _ = self.made("team.b")
        path = Path(self.mktemp())
        path.write_text(first + second)
        file = KeysSetting().check(str(path))
        assert isinstance(file, KeysFile)
        self.assertEqual([each.name for each in file.keys], ["alice", "team.b"])
        key = key_of_first.splitlines()[-1]
        self.assertEqual(file.keys[0].sha256, sha256(key.encode()).hexdigest())
        self.assertNotIn(key, first)
        self.assertRegex(key, r"\Aap-[A-Za-z0-9_-]{43}\Z")

    def test_bad_name(self) -> None:
        """A name that the file could not have is an error."""
        running = Deferred.fromCoroutine(keys.run(None, Namespace(name="a b")))
        self.assertIn(
            "not a name for a key", str(self.failureResultOf(running, CommandError).value)
        )
