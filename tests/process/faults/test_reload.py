"""SIGHUP in a real process: a valid file, an invalid file, and a signal during the drain."""

from __future__ import annotations

import signal
from pathlib import Path

from tests.process.faults.crowds import CrowdTestCase
from tests.process.faults.upstreams import ONE
from tests.process.processes import received, until
from tests.unit.web.browsers import CHAT, ask, request
from tests.unit.web.responses import responses


class ReloadTests(CrowdTestCase):
    """A router with an open stream."""

    def file(self, text: str) -> None:
        """Write the router's `.env` file, and send SIGHUP."""
        Path(f"/proc/{self.router.process.pid}/cwd", ".env").write_text(text)
        self.router.signals(signal.SIGHUP)

    def says(self, text: str) -> None:
        """Wait for a line in the log."""
        until(lambda: text in self.router.log)

    def test_reload(self) -> None:
        """New requests use the new settings; the open stream keeps the old ones."""
        self.crowd()
        stream = self.midway(ONE)
        self.file(
            "MAX_REQUEST_BYTES=10\nUPSTREAM_IDLE_TIMEOUT_MS=1\nMODELS_REFRESH_MS=5000\n"
            "LOG_FORMAT=json\nSTICKY_TTL_SECS=60\n"
        )
        self.says('"message":"Settings changed: UPSTREAM_IDLE_TIMEOUT_MS, MAX_REQUEST_BYTES, LOG_')
        self.says("need a restart were changed and are not in effect: MODELS_REFRESH_MS")
        answer = self.exchange(request(CHAT, body=ask(ONE)))
        self.assertEqual(answer.error[::2], (413, "request_too_large"))
        self.file("MAX_REQUEST_BYTES=none\nLOG_FORMAT=text\n")
        self.says("Settings not changed: MAX_REQUEST_BYTES: 'none' is not a whole number")
        self.router.signals(signal.SIGHUP)
        self.file("")
        self.says(": Settings changed: UPSTREAM_IDLE_TIMEOUT_MS, MAX_REQUEST_BYTES, LOG_FORMAT")
        # The environment, which sets STICKY_TTL_SECS, takes precedence over the file.
        self.assertNotIn("STICKY_TTL_SECS", self.router.log)
        self.go_on.set()
        stream.got += received(stream.client, b"0\r\n\r\n")
        self.assert_complete(responses(stream.got)[0])
        self.assertNotIn("Traceback", self.router.log)

    def test_draining(self) -> None:
        """A SIGHUP during the drain is ignored, and does not shorten the drain."""
        self.crowd()
        stream = self.midway(ONE)
        self.router.signals(signal.SIGTERM)
        until(self.refuses)
        self.file("DRAIN_TIMEOUT_MS=1\n")
        self.says("SIGHUP ignored: the router is stopping")
        self.go_on.set()
        self.assert_complete(stream.rest())
        self.assertEqual(self.router.ends(), -signal.SIGTERM)
