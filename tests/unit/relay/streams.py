"""A stream in progress, and the events that it is made of."""

from __future__ import annotations

import json

from autopilot.http.dialect import Dialect
from autopilot.relay.sse_guard import GuardLevel
from tests.unit.relay.routers import Client, RouterTestCase
from tests.unit.relay.upstreams import TOKEN, chunk, head

BARE = b'{"error":{"message":"worker died"}}'


def typed(kind: str, **members: object) -> bytes:
    """One event of Anthropic's messages or OpenAI's responses."""
    data = json.dumps({"type": kind, **members}).encode()
    return b"event: %b\ndata: %b\n\n" % (kind.encode(), data)


SPEECH = {
    Dialect.COMPLETIONS: TOKEN,
    Dialect.MESSAGES: typed("content_block_delta"),
    Dialect.RESPONSES: typed("response.output_text.delta"),
}


class StreamTestCase(RouterTestCase):
    """A direct request, so that the first byte commits."""

    def streaming(self, guard: GuardLevel = GuardLevel.ON, *says: bytes) -> Client:
        """A client whose stream has begun with one token, and went on with ``says``."""
        self.build(guard=guard)
        client = self.ask("a")
        self.wire.says(head(), chunk(TOKEN), *map(chunk, says))
        return client

    def ended(self, client: Client, how: str | None, outcome: str, body: bytes) -> None:
        """The response ended so, with these bytes, and the upstream is let go."""
        self.assertEqual((client.down.ended, client.down.body), (how, body))
        self.assertEqual((self.record.outcome, self.record.status), (outcome, 200))
        self.assertEqual((self.proxy.active, self.record.attempts), (0, 1))
