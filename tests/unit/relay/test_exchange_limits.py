"""What an upstream states of the limits of a request's key."""

from __future__ import annotations

from autopilot.http.dialect import Dialect
from autopilot.http.headers import read_request_headers
from autopilot.relay.downstream import ClientRequest
from autopilot.routing.identity import Hasher
from tests.unit.relay.downstreams import RecordingDownstream
from tests.unit.relay.routers import ALIAS, RouterTestCase
from tests.unit.relay.upstreams import DONE, JSON, SSE, TOKEN, chunk, head, whole

_QUOTA = b"X-Chutes-Quota-Remaining: 7"
_STATED = {b"x-chutes-quota-remaining": b"7"}
_CLIENT = Hasher(b"k" * 32).token("secret")


class LimitsTests(RouterTestCase):
    """What is passed on, and with whose hash."""

    def test_relayed(self) -> None:
        """Each relayed response is noted once, an answer or an error, streamed or not."""
        for model in (ALIAS, "a"):
            for answer in (
                whole(200, b"{}", JSON, _QUOTA),
                whole(401, b"{}", JSON, _QUOTA),
                head(200, SSE, _QUOTA) + chunk(TOKEN + DONE),
            ):
                self.limited.clear()
                self.ask(model)
                self.wire.says(answer)
                self.assertEqual(self.limited, [(_CLIENT, _STATED, self.clock.seconds())])

    def test_not_stated(self) -> None:
        """Most responses state nothing."""
        self.ask()
        self.wire.says(whole(200, b"{}"))
        self.assertEqual(self.limited, [])

    def test_without_a_key(self) -> None:
        """A client without a key has no limits of its own."""
        down = RecordingDownstream(self.clock)
        headers = read_request_headers([])
        body = b'{"model":"a"}'
        path, peer = b"/v1/chat/completions", "192.0.2.1"
        request = ClientRequest(Dialect.COMPLETIONS, path, b"", headers, body, peer, "req-1")
        self.assertIsNotNone(self.proxy.accept(request, down))
        self.wire.says(whole(200, b"{}", JSON, _QUOTA))
        self.assertEqual((down.ended, self.limited), ("finish", []))
        self.records.clear()
