"""Streams for whose usage the router asks in the place of the client (``USAGE=request``)."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

from autopilot.http.dialect import Dialect
from autopilot.observability.records import Outcome
from autopilot.relay.sse_guard import GuardLevel
from autopilot.routing.usage import Usage
from tests.unit.relay.routers import RouterTestCase
from tests.unit.relay.test_usage_filter import USAGE
from tests.unit.relay.upstreams import DONE, JSON, ROLE, SSE, STOP, TOKEN, chunk, head, whole


class AskingTests(RouterTestCase):
    """A router that asks for usage in its clients' place."""

    def build(self, **given: Any) -> None:
        """Turn it on."""
        super().build(**given)
        self.config = replace(self.config, asks_usage=True)
        self.proxy.configure(self.config)

    def sent_up(self) -> dict[str, Any]:
        """Return the body of the last request."""
        body: dict[str, Any] = json.loads(self.wire.value().rpartition(b"\r\n\r\n")[2])
        return body

    def test_stream(self) -> None:
        """The router asks; the client sees nothing of it, and the record counts its bytes."""
        for model in ("a", "a,b"):
            for guard in GuardLevel:
                self.build(guard=guard)
                client = self.ask(model)
                self.assertEqual(self.sent_up()["stream_options"], {"include_usage": True})
                self.wire.says(head(), chunk(ROLE + TOKEN), chunk(STOP), chunk(USAGE), chunk(DONE))
                self.wire.says(chunk(b""))
                self.assertEqual(client.down.body, ROLE + TOKEN + STOP + DONE)
                self.assertEqual(client.down.ended, "finish")
                self.assertEqual(self.record.bytes, len(client.down.body))
                self.assertEqual(self.record.outcome, Outcome.COMPLETED)
                self.assertEqual(self.record.usage, Usage(9, None, 2))

    def test_at_once(self) -> None:
        """So it is if the response arrives in one read, or is held until its end."""
        answer = ROLE + TOKEN + STOP + USAGE + DONE
        for fields in ((), ((b"X-Autopilot-Commit", b"complete"),)):
            self.build()
            client = self.ask("a", *fields)
            self.wire.says(whole(200, answer, SSE))
            self.assertEqual(client.down.body, ROLE + TOKEN + STOP + DONE)
            self.assertEqual(self.record.bytes, len(client.down.body))

    def test_stated_length(self) -> None:
        """The upstream's length, which counts the usage, is not the client's."""
        answer = ROLE + TOKEN + STOP + USAGE + DONE
        for guard in GuardLevel:
            self.build(guard=guard)
            client = self.ask("a")
            self.wire.says(head(200, SSE, b"Content-Length: %d" % len(answer)), answer)
            self.assertEqual(client.down.body, ROLE + TOKEN + STOP + DONE)
            self.assertIsNone(client.down.field(b"content-length"))
            assert client.down.head is not None
            self.assertFalse(client.down.head.framed)
            self.assertEqual(client.down.ended, "finish")

    def test_asked(self) -> None:
        """A client that asks itself gets all of it."""
        client = self.ask("a", stream_options={"include_usage": True})
        self.wire.says(head(), chunk(TOKEN + STOP + USAGE + DONE))
        self.assertEqual(client.down.body, TOKEN + STOP + USAGE + DONE)

    def test_failover(self) -> None:
        """Each candidate is asked, and the filter is that of the one that answers."""
        client = self.ask("a,b")
        self.wire.says(whole(503, b"{}"))
        self.assertEqual(self.sent_up()["stream_options"], {"include_usage": True})
        self.wire.says(head(), chunk(TOKEN + STOP + USAGE + DONE))
        self.assertEqual(client.down.body, TOKEN + STOP + DONE)

    def test_nothing_added(self) -> None:
        """Other dialects, plain and signed requests go up as they are."""
        signed = [(b"X-Chutes-" + name, b"x") for name in (b"Hotkey", b"Signature", b"Nonce")]
        body = b'{"model":"a","stream":true}'
        others: tuple[dict[str, Any], ...] = (
            {"dialect": Dialect.MESSAGES, "path": b"/v1/messages"},
            {"dialect": Dialect.RESPONSES, "path": b"/v1/responses"},
            {"body": b'{"model":"a"}'},
            {"body": b'{"model":"a","stream":false}'},
        )
        for given in others:
            self.ask("a", **given)
            self.assertNotIn("stream_options", self.sent_up(), given)
        self.ask("a", *signed, body=body)
        self.assertTrue(self.wire.value().endswith(b"\r\n\r\n" + body))

    def test_other_answers(self) -> None:
        """Errors, plain answers and coded streams pass as they are."""
        document = b'{"choices":[],"usage":{}}'
        for answer in (
            whole(400, document),
            whole(200, document),
            whole(200, USAGE, SSE, b"Content-Encoding: gzip"),
            head(200, JSON) + chunk(document) + chunk(b""),
        ):
            self.build()
            client = self.ask("a")
            self.wire.says(answer)
            self.assertIn(client.down.body, (document, USAGE), answer)

    def test_break_behind_usage(self) -> None:
        """A break is announced as without the filter, and a whole answer still ends cleanly."""
        for says, ended in (((TOKEN, TOKEN[:30]), "cut"), ((TOKEN + STOP, USAGE), "finish")):
            self.build()
            client = self.ask("a")
            self.wire.says(head(), *map(chunk, says))
            self.wire.resets()
            self.clock.advance(0)
            self.assertEqual(client.down.ended, ended)
            left = TOKEN + STOP if ended == "finish" else TOKEN + TOKEN[:30]
            self.assertEqual(client.down.body, left)
