"""Tests of the way of leased calls between the parent and a worker."""

from __future__ import annotations

from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.trial.unittest import SynchronousTestCase

from autopilot.service.commands import EdgeNotice, Line
from autopilot.service.edge_link import LenderLink, lease_over
from autopilot.state.edge_account import Admission, EdgeConfig
from autopilot.state.edge_lease import EdgeLender, LeasingGovernor, lending
from autopilot.state.edge_limit import EdgeGovernor


class EdgeLinkTests(SynchronousTestCase):
    """A parent and a worker over transports in memory."""

    def setUp(self) -> None:
        """Connect the two."""
        self.clock = Clock()
        self.parent = EdgeGovernor(self.clock, lending(EdgeConfig()))
        self.worker = LeasingGovernor(self.clock, EdgeConfig())
        self.lines = Line(), Line()
        self.transports = StringTransport(), StringTransport()
        for line, transport in zip(self.lines, self.transports, strict=True):
            line.makeConnection(transport)
        self.link = LenderLink(EdgeLender(self.parent), 0, self.lines[0])
        lease_over(self.lines[1], self.worker)
        self.sent = 0

    def carry(self) -> None:
        """Let each end read what the other has written, and what it answers."""
        for _ in range(2):
            for transport, reader in zip(self.transports, reversed(self.lines), strict=True):
                data = transport.value()
                transport.clear()
                if data:
                    reader.dataReceived(data)

    def begin(self) -> None:
        """Ask for a call in the worker."""
        permit = self.worker.permit(b"k", self.send)
        if self.worker.begin(permit, lambda: b"") is Admission.SENT:
            self.send()

    def send(self) -> None:
        """Count a call."""
        self.sent += 1

    def test_both_ways(self) -> None:
        """A worker asks, and the parent grants; what is not used comes back within a second."""
        self.begin()
        self.carry()
        self.assertEqual(self.sent, 1)
        self.clock.advance(1.0)
        self.carry()
        self.assertEqual(self.parent.standing(9)[1].available, 58.0)  # one was made
        self.clock.advance(1.0)
        self.assertEqual(self.clock.getDelayedCalls()[:-1], [])
        self.assertEqual(len(self.parent.standing(9)), 1)  # no call is missing

    def test_end(self) -> None:
        """A worker that has ended waits for nothing."""
        for _ in range(70):
            self.begin()
            self.carry()
        self.assertEqual((self.sent, self.parent.waiting), (59, 11))
        self.link.close()
        self.assertEqual(self.parent.waiting, 0)

    def test_nonsense(self) -> None:
        """A message that cannot be read is logged, and changes nothing."""
        self.lines[1].tell(EdgeNotice, note=b"nonsense")
        self.carry()
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 1)
