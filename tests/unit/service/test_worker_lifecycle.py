"""Tests of a worker's process: what it does without a parent that speaks its version."""

from __future__ import annotations

import sys
from io import StringIO

from twisted.internet.testing import MemoryReactorClock, StringTransport
from twisted.trial.unittest import SynchronousTestCase

from autopilot.service.frames import Frames, Kind
from autopilot.service.worker_lifecycle import CANNOT_START, Worker


class WorkerTests(SynchronousTestCase):
    """A worker's process that cannot begin; tests/process/workers runs those that can."""

    def setUp(self) -> None:
        """Make the process, without descriptors."""
        self.reactor = MemoryReactorClock()
        self.worker = Worker(self.reactor)
        self.heard = StringIO()
        self.patch(sys, "stderr", self.heard)

    def receive(self, payload: bytes) -> None:
        """Receive an assignment."""
        frames = Frames()
        transport = StringTransport()
        frames.makeConnection(transport)
        frames.send(Kind.SETTINGS, payload)
        self.worker._frames.dataReceived(transport.value())

    def test_other_version(self) -> None:
        """A worker of another version says what to do in one line, and ends with a status."""
        self.receive(b"99.0\nanything")
        self.reactor.advance(0)
        self.assertEqual(self.worker._status, CANNOT_START)
        self.assertRegex(
            self.heard.getvalue(),
            r"\Aautopilot: The installed version is .*, but that of the running router is 99\.0:"
            r" restart the router, not only its workers\n\Z",
        )

    def test_parent_dies_first(self) -> None:
        """One whose parent is gone before it has begun ends, with nothing to say."""
        self.reactor.running = True
        self.worker._frames.connectionLost()
        self.assertFalse(self.reactor.running)
        self.assertEqual((self.worker._status, self.heard.getvalue()), (0, ""))
