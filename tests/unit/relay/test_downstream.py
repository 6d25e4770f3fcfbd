"""What the data plane needs of the client's side."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from autopilot.relay.dialect import Dialect
from autopilot.relay.downstream import CommittedHead, Downstream, Inbound
from tests.unit.relay.downstreams import RecordingDownstream


class ValuesTests(SynchronousTestCase):
    """The values that cross from the web layer."""

    def test_inbound_shows_nothing(self) -> None:
        """A request that ends up in a message or a traceback does not tell of its client."""
        inbound = Inbound(
            dialect=Dialect.COMPLETIONS,
            path=b"/v1/chat/completions",
            query=b"key=secret",
            fields=[(b"Authorization", b"Bearer secret")],
            named={b"authorization": [b"Bearer secret"]},
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
        downstream: Downstream = RecordingDownstream()
        downstream.commit(CommittedHead(200, b"OK", []), b"")
        downstream.write(b"x")
        downstream.finish()
