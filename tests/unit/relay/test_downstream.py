"""What the data plane needs of the client's side."""

from __future__ import annotations

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from autopilot.http.dialect import Dialect
from autopilot.http.headers import read_request_headers
from autopilot.relay.downstream import ClientRequest, CommittedHead, Downstream
from tests.unit.relay.downstreams import RecordingDownstream


class ValuesTests(SynchronousTestCase):
    """The values that cross from the web layer."""

    def test_inbound_shows_nothing(self) -> None:
        """A request that ends up in a message or a traceback does not tell of its client."""
        inbound = ClientRequest(
            dialect=Dialect.COMPLETIONS,
            path=b"/v1/chat/completions",
            query=b"key=secret",
            headers=read_request_headers([(b"Authorization", b"Bearer secret")]),
            body=b"secret",
            peer="secret",
            request_id="r1",
        )
        self.assertNotIn("secret", repr(inbound))
        self.assertIn("r1", repr(inbound))

    def test_committed_head(self) -> None:
        """A head keeps its declared length unless told otherwise."""
        self.assertFalse(CommittedHead(200, b"OK", []).rechunk)

    def test_recording_downstream(self) -> None:
        """The client that the other tests use has the shape that is asked for."""
        downstream: Downstream = RecordingDownstream(Clock())
        downstream.commit(CommittedHead(200, b"OK", []), b"")
        downstream.write(b"x")
        downstream.finish(b"")
