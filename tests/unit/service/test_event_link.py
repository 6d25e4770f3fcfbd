"""Tests of the link of shared state between the parent and a worker."""

from __future__ import annotations

from unittest.mock import Mock

from twisted.internet.error import ConnectionDone
from twisted.internet.testing import StringTransport
from twisted.protocols.amp import parseString
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from autopilot.service.commands import Line
from autopilot.service.event_link import MOST_WAITING_BYTES, EventLink
from autopilot.state.events import encode
from tests.unit.state.test_events import ALL

_BATCH = b"".join(encode(ALL))


class EventLinkTests(SynchronousTestCase):
    """A link whose hub notes what it is given, over a transport in memory."""

    def setUp(self) -> None:
        """Open a link."""
        self.hub = Mock()
        self.line = Line()
        self.transport = StringTransport()
        self.line.makeConnection(self.transport)
        self.link = EventLink(self.hub, self.line)
        self.link.open()
        self.hub.join.assert_called_once_with(self.link)

    def sent(self) -> list[bytes]:
        """Return the batches that were sent."""
        return [box[b"batch"] for box in parseString(self.transport.value())]

    def test_both_ways(self) -> None:
        """Batches are sent at once, and those received reach the hub."""
        self.link.send(_BATCH)
        self.assertEqual(self.sent(), [_BATCH])
        self.line.dataReceived(self.transport.value())
        self.hub.received.assert_called_once_with(_BATCH, self.link)

    def test_other_process_does_not_read(self) -> None:
        """Batches wait up to a limit; what is beyond it is counted as lost; order is kept."""
        self.link.pauseProducing()
        large = b"".join(encode([ALL[0]] * 500))
        fitting = MOST_WAITING_BYTES // len(large)
        for _ in range(fitting + 2):
            self.link.send(large)
        self.assertEqual(self.sent(), [])
        self.assertEqual([each.args for each in self.hub.lost.call_args_list], [(500,)] * 2)
        self.link.resumeProducing()
        self.assertEqual(self.sent(), [large] * fitting)
        self.link.send(_BATCH)
        self.assertEqual(self.sent()[-1], _BATCH)

    def test_full_again(self) -> None:
        """What waits is sent only as far as the other process reads."""
        self.link.pauseProducing()
        for _ in range(3):
            self.link.send(_BATCH)
        write = self.transport.write

        def write_and_be_full(data: bytes) -> None:
            write(data)
            self.link.pauseProducing()

        self.patch(self.transport, "write", write_and_be_full)
        self.link.resumeProducing()
        self.assertEqual(len(self.sent()), 1)
        self.link.resumeProducing()
        self.link.resumeProducing()
        self.assertEqual(len(self.sent()), 3)

    def test_lost(self) -> None:
        """The link leaves the hub with its connection, and holds nothing."""
        self.link.pauseProducing()
        self.link.send(_BATCH)
        self.link.stopProducing()
        self.hub.leave.assert_called_once_with(self.link)
        self.line.connectionLost(Failure(ConnectionDone()))
        self.link.resumeProducing()
        self.assertEqual(self.sent(), [])
