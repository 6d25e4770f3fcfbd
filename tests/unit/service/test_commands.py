"""Tests of the commands between the parent and a worker."""

from __future__ import annotations

from twisted.internet.testing import StringTransport
from twisted.protocols.amp import AmpBox
from twisted.test.iosim import FakeTransport, connect
from twisted.trial.unittest import SynchronousTestCase

from autopilot.service.commands import Drain, Draining, Events, Line, Ready


class LineTests(SynchronousTestCase):
    """Both ends of a connection."""

    def setUp(self) -> None:
        """Connect two ends in memory."""
        self.lost: list[str] = []
        self.parent = Line(lambda: self.lost.append("parent"))
        self.worker = Line(lambda: self.lost.append("worker"))
        self.ends = FakeTransport(self.parent, True), FakeTransport(self.worker, False)
        self.pump = connect(self.parent, self.ends[0], self.worker, self.ends[1])
        self.told: list[object] = []

    def fail_to_read(self) -> None:
        """Raise what a handler may raise."""
        raise ZeroDivisionError

    def test_told(self) -> None:
        """Arguments arrive as they were given."""
        self.worker.on(Drain, lambda in_haste: self.told.append(in_haste))
        self.worker.on(Draining, lambda: self.told.append("draining"))
        self.worker.on(Events, lambda batch: self.told.append(batch))
        self.parent.tell(Draining)
        self.parent.tell(Drain, in_haste=True)
        self.parent.tell(Events, batch=b"\x00" * 60_000)
        self.pump.flush()
        self.assertEqual(self.told, ["draining", True, b"\x00" * 60_000])

    def test_handler_fails(self) -> None:
        """What a handler raises is logged, and the connection stays open."""
        self.parent.on(Draining, self.fail_to_read)
        self.parent.on(Events, lambda batch: self.told.append(batch))
        self.worker.tell(Draining)
        self.worker.tell(Events, batch=b"more")
        self.pump.flush()
        self.assertEqual(self.told, [b"more"])
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_unknown(self) -> None:
        """A command without a handler is ignored, as is one that AMP cannot read."""
        self.parent.on(Drain, lambda in_haste: self.told.append(in_haste))
        self.worker.tell(Ready)
        AmpBox(_command=b"Drain", in_haste=b"perhaps")._sendTo(self.worker)
        self.worker.tell(Drain, in_haste=False)
        self.pump.flush()
        self.assertEqual(self.told, [False])
        self.assertEqual(self.lost, [])
        self.assertEqual(len(self.flushLoggedErrors(TypeError)), 1)

    def test_lost(self) -> None:
        """Both ends learn that the connection has ended, and tell nothing after it."""
        self.ends[0].loseConnection()
        self.pump.flush()
        self.assertEqual(sorted(self.lost), ["parent", "worker"])
        self.parent.tell(Draining)
        unconnected, transport = Line(), StringTransport()
        unconnected.tell(Draining)
        unconnected.makeConnection(transport)
        self.assertEqual(transport.value(), b"")
