"""What the command itself prints: the effective settings, and complaints about bad ones."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tests.process.secrets.canaries import Scanner, canary
from tests.unit.test_tap import twistd

URLS = (
    "BACKEND_BASE_URL",
    "MESSAGES_BASE_URL",
    "RESPONSES_BASE_URL",
    "MODELS_URL",
    "UTILIZATION_URL",
    "API_BASE_URL",
)


class CommandTests(SynchronousTestCase):
    """Real processes that end by themselves."""

    def setUp(self) -> None:
        """A secret, and an empty directory to work in."""
        self.key = canary("key")
        self.folder = self.mktemp()
        os.makedirs(self.folder)

    def assert_silent(self, done: subprocess.CompletedProcess[str]) -> None:
        """It printed no secret, and left none in a file."""
        left = b"".join(
            path.read_bytes() for path in Path(self.folder).iterdir() if path.name != ".env"
        )
        printed = (done.stdout + done.stderr).encode()
        self.assertEqual(Scanner((self.key,)).found(printed + left), [])

    def test_check_config(self) -> None:
        """A key is hidden, wherever it comes from."""
        text = self.key.text
        for arguments, variables, in_file in (
            ((f"--sticky-hash-key={text}",), {}, ""),
            ((), {"STICKY_HASH_KEY": text}, ""),
            ((), {}, f"STICKY_HASH_KEY={text}\nbroken '{text}\n"),
        ):
            Path(self.folder, ".env").write_text(in_file)
            command = ("--nodaemon", "autopilot", "--check-config", *arguments)
            done = twistd(self.folder, *command, **variables)
            self.assertEqual(done.returncode, 0, done.stderr)
            self.assertIn("STICKY_HASH_KEY=********", done.stdout)
            self.assert_silent(done)

    def test_bad_urls(self) -> None:
        """A URL that holds a secret is refused without repeating it."""
        text = self.key.text
        for url in (
            f"https://me:{text}@host/",
            f"https://{text}@host",
            f"https://host/?key={text}",
        ):
            done = twistd(self.folder, "--nodaemon", "autopilot", **dict.fromkeys(URLS, url))
            self.assertEqual(done.returncode, 1)
            self.assertEqual([name for name in URLS if f"\n{name}: " not in done.stdout], [])
            self.assert_silent(done)

    def test_bad_key(self) -> None:
        """So is a key that is too long, or no text; and an option nobody knows."""
        text = self.key.text
        for arguments, variables in (
            ((), {"STICKY_HASH_KEY": text * 3}),
            ((f"--sticky-hash-key={text * 3}",), {}),
            ((), {"STICKY_HASH_KEY": text + "\udcff"}),
            ((f"--sticky-hash-kye={text}",), {}),
        ):
            done = twistd(self.folder, "--nodaemon", "autopilot", *arguments, **variables)
            self.assertEqual(done.returncode, 1)
            self.assert_silent(done)
