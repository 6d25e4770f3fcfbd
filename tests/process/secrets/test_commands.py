"""Output of the command: effective settings, and complaints about invalid ones."""

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
    """Real processes that exit by themselves."""

    def setUp(self) -> None:
        """Create a secret, and an empty working directory."""
        self.key = canary("key")
        self.folder = self.mktemp()
        os.makedirs(self.folder)

    def assert_silent(self, done: subprocess.CompletedProcess[str]) -> None:
        """Check that the process printed no secret, and wrote none to a file."""
        left = b"".join(
            path.read_bytes() for path in Path(self.folder).iterdir() if path.name != ".env"
        )
        printed = (done.stdout + done.stderr).encode()
        self.assertEqual(Scanner((self.key,)).found(printed + left), [])

    def test_check_config(self) -> None:
        """A key is hidden, whether it comes from a file or the environment."""
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
        """An invalid URL with a secret is refused without being quoted."""
        text = self.key.text
        for url in (
            f"https://me:{text}@host/",
            f"https://{text}@host",
            f"https://host/?key={text}",
        ):
            done = twistd(self.folder, "--nodaemon", "autopilot", **dict.fromkeys(URLS, url))
            self.assertEqual(done.returncode, 1)
            self.assertEqual(
                [name for name in URLS if f"autopilot: {name}: " not in done.stderr], []
            )
            self.assert_silent(done)

    def test_bad_key(self) -> None:
        """A key that is too long or not text is refused likewise, and so is an unknown option."""
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
