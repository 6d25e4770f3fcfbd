"""Exchanges whose stream begins before its answer (contract §6, §7)."""

from __future__ import annotations

from dataclasses import replace
from typing import Any
from unittest.mock import patch

from autopilot.http.dialect import Dialect
from autopilot.relay.bridge import COMMENT
from autopilot.relay.sse_guard import GuardLevel
from autopilot.request.parse import ParseConfig
from autopilot.routing.commit import Commit
from autopilot.routing.plan import Rules
from autopilot.state.edge_account import EdgeConfig
from tests.unit.relay.downstreams import INTERRUPTED, RecordingDownstream
from tests.unit.relay.routers import ALIAS, EACH, Client, RouterTestCase
from tests.unit.relay.test_bridge import SECOND, event_of
from tests.unit.relay.upstreams import DONE, JSON, ROLE, STOP, TOKEN, chunk, head, whole

ANSWER = TOKEN + STOP + DONE
PATHS = {
    Dialect.COMPLETIONS: b"/v1/chat/completions",
    Dialect.MESSAGES: b"/v1/messages",
    Dialect.RESPONSES: b"/v1/responses",
}


class BridgeTestCase(RouterTestCase):
    """A router whose setting is off, and requests that ask for it."""

    def bridged(self, model: str = "a,b", *fields: Any, **more: Any) -> Client:
        """Ask for a stream, and let it begin."""
        client = self.ask(model, EACH, *fields, **more)
        self.assertIsNone(client.down.head)
        self.clock.advance(SECOND)
        assert client.down.head is not None
        self.assertEqual((client.down.head.status, client.down.body), (200, COMMENT))
        return client

    def passes(self, seconds: float) -> None:
        """Let time pass in steps, as the reactor does: a comment is due after the one before."""
        for _ in range(round(2 * seconds)):
            self.clock.advance(0.5)

    def assert_ended(self, client: Client, status: int, outcome: str, code: str | None) -> Any:
        """The stream ended with an error event and a cut; return the error."""
        error = event_of(client.down.body)["error"]
        self.assertEqual((error["status"], client.down.ended), (status, "cut"))
        record = self.record
        self.assertEqual((record.status, record.outcome, record.code), (status, outcome, code))
        return error


class AnswerTests(BridgeTestCase):
    """Answers behind comments."""

    def test_answer(self) -> None:
        """Comments come at the interval; the answer's own head is left out."""
        client = self.bridged(ALIAS)
        self.clock.advance(0.999)
        self.assertEqual(client.down.writes, [COMMENT])
        self.clock.advance(0.001)
        self.assertEqual(client.down.writes, [COMMENT, COMMENT])
        self.assertEqual(self.streams(), ANSWER)
        down = client.down
        self.assertEqual((down.body, down.ended), (COMMENT * 2 + ANSWER, "finish"))
        self.assertEqual(down.field(b"content-type"), b"text/event-stream")
        self.assertEqual(down.field(b"x-request-id"), b"req-1")
        self.assertEqual(down.field(b"x-accel-buffering"), b"no")
        self.assertIsNotNone(down.field(b"date"))
        for absent in (b"selected", b"attempts", b"affinity", b"tried"):
            self.assertIsNone(down.field(b"x-chutes-autopilot-" + absent))
        record = self.record
        self.assertEqual((record.status, record.outcome, record.attempts), (200, "completed", 1))
        self.assertEqual((record.bytes, record.ttfb_ms), (len(ANSWER), 2000.0))

    def test_no_comment_in_an_answer(self) -> None:
        """Once the answer is committed nothing is injected, however long it pauses."""
        client = self.bridged()
        self.wire.says(head(), chunk(TOKEN))
        self.clock.advance(30)
        self.wire.says(chunk(STOP + DONE), chunk(b""))
        self.assertEqual(client.down.body, COMMENT + ANSWER)

    def test_in_time(self) -> None:
        """An answer within the interval is relayed as without it, with its head."""
        client = self.ask(ALIAS, EACH)
        self.clock.advance(0.5)
        self.streams()
        self.assertEqual(client.down.body, ANSWER)
        self.assertEqual(client.down.field(b"x-chutes-autopilot-selected"), b"a")

    def test_failover_goes_on(self) -> None:
        """Comments are no commit: models that fail, hang or say nothing give way to the next."""
        client = self.bridged("a,b,c")
        self.wire.says(whole(503, b""))
        self.passes(13)
        self.assertEqual(self.models, ["a", "b", "c"])
        self.wire.says(head(), chunk(ROLE))
        self.passes(2)  # without another candidate the first byte is the commit point
        self.streams_on()
        self.assertEqual(client.down.body, COMMENT * 14 + ROLE + ANSWER)
        self.assertEqual(self.reasons, ("status_503", "header_timeout"))
        self.assertEqual((self.record.model, self.record.attempts), ("c", 3))

    def streams_on(self) -> None:
        """Send the rest of an answer whose head has been sent."""
        self.wire.says(chunk(TOKEN), chunk(STOP + DONE), chunk(b""))

    def test_complete(self) -> None:
        """An answer that is held until it is whole is bridged as long, under the strict guard."""
        self.build(commit=Commit.COMPLETE, guard=GuardLevel.STRICT)
        client = self.bridged()
        self.wire.says(head(), chunk(TOKEN))
        self.passes(3)
        self.wire.says(chunk(TOKEN), chunk(STOP + DONE), chunk(b""))
        self.assertEqual(client.down.body, COMMENT * 4 + TOKEN + ANSWER)

    def test_usage_is_taken_out(self) -> None:
        """The filter of usage works behind comments."""
        self.proxy.configure(replace(self.config, asks_usage=True))
        usage = b'data: {"choices":[],"usage":{"prompt_tokens":1,"completion_tokens":2}}\n\n'
        client = self.bridged()
        self.wire.says(head(), chunk(TOKEN + STOP + usage + DONE), chunk(b""))
        self.assertEqual(client.down.body, COMMENT + ANSWER)
        self.assertEqual(self.record.bytes, len(ANSWER))

    def test_guard_off(self) -> None:
        """Without a guard the upstream's bytes and its end are relayed, behind the comments."""
        self.build(guard=GuardLevel.OFF)
        client = self.bridged()
        self.wire.says(head(), chunk(TOKEN), chunk(b""))
        self.assertEqual((client.down.body, client.down.ended), (COMMENT + TOKEN, "finish"))

    def test_broken_answer(self) -> None:
        """A break after commit is announced as in any stream."""
        client = self.bridged()
        self.wire.says(head(), chunk(TOKEN))
        self.wire.resets()
        self.assertEqual(client.down.body, COMMENT + TOKEN + INTERRUPTED)
        self.assertEqual((client.down.ended, self.record.outcome), ("cut", "upstream_broken"))

    def test_slow_client(self) -> None:
        """A client that reads nothing of an answer behind comments is cut off as any other."""
        client = self.bridged()
        self.wire.says(head(), chunk(TOKEN))
        producer: Any = client.down.producer
        producer.pauseProducing()
        self.clock.advance(self.config.timeouts.idle)
        self.assertEqual((client.down.ended, self.record.outcome), ("abort", "client_stalled"))

    def test_again(self) -> None:
        """So is the pause before a second try of the same model."""
        client = self.bridged("a")
        self.wire.says(whole(429, b'{"error":{}}', JSON, b"Retry-After: 3"))
        self.passes(3)
        self.assertEqual(client.down.body, COMMENT * 4)
        self.streams()
        self.assertEqual(client.down.body, COMMENT * 4 + ANSWER)

    def test_pacing(self) -> None:
        """So is the wait for a token of the key; a second start of attempts is no second bridge."""
        self.build(edge=EdgeConfig(40.0, 40.0, 1 / 40))  # a token each 1.5 s
        self.ask("a", stream=False)
        self.wire.says(whole(200, b"{}"))
        self.records.clear()
        self.clients.clear()
        client = self.bridged("a")
        self.assertEqual(len(self.models), 1)
        self.passes(1)
        self.assertEqual(len(self.models), 2)
        self.streams()
        self.assertEqual(client.down.body, COMMENT * 2 + ANSWER)


class FailureTests(BridgeTestCase):
    """Exchanges without an answer, whose status has been sent."""

    def test_own_error(self) -> None:
        """Without a candidate left the error is an event."""
        client = self.bridged("a")
        self.wire.resets()
        error = self.assert_ended(client, 502, "failed", "upstream_connect_error")
        self.assertEqual(error["code"], "upstream_connect_error")

    def test_dialects(self) -> None:
        """In Anthropic's dialect it is named; in OpenAI's responses the end behind it is clean."""
        for dialect, ended in ((Dialect.MESSAGES, "cut"), (Dialect.RESPONSES, "finish")):
            client = self.bridged("a", dialect=dialect, path=PATHS[dialect])
            self.wire.resets()
            event = event_of(client.down.body)
            self.assertEqual(event.get("response", event)["error"]["status"], 502)
            self.assertEqual(client.down.ended, ended)

    def test_last_response(self) -> None:
        """The last attempt's response is not relayed as it came but told."""
        client = self.bridged()
        self.wire.says(whole(503, b""))
        self.wire.says(whole(503, b'{"detail":"cold"}'))
        error = self.assert_ended(client, 503, "relayed_error", None)
        self.assertEqual(error["message"], "cold")
        self.assertEqual(self.reasons, ("status_503", "status_503"))

    def test_error_in_pieces(self) -> None:
        """An error's body is awaited, with `ERROR_SHAPE=upstream` too; what is too long is not."""
        for shapes in (True, False):
            self.build(shape_errors=shapes)
            client = self.bridged("a")
            self.wire.says(head(401, JSON), chunk(b'{"detail":'))
            self.clock.advance(1.5)
            self.assertEqual(client.down.body, COMMENT * 2)
            self.wire.says(chunk(b'"who?"}'), chunk(b""))
            error = self.assert_ended(client, 401, "relayed_error", None)
            self.assertEqual((error["message"], error["type"]), ("who?", "authentication_error"))

    def test_endless_error(self) -> None:
        """A body that is too long, or no JSON, is not awaited, and its connection not kept."""
        for first in (head(403, b"text/html"), head(403, JSON) + chunk(b"x" * 70_000)):
            self.build()
            client = self.bridged("a")
            self.wire.says(first)
            error = self.assert_ended(client, 403, "relayed_error", None)
            self.assertEqual(error["message"], "The upstream answered with status 403.")
            self.assertTrue(self.wire.aborted)

    def test_error_that_stops(self) -> None:
        """A body that does not end in time is replaced by a message with the status."""
        client = self.bridged("a")
        self.wire.says(head(403, JSON), chunk(b'{"detail":"x'))
        self.clock.advance(self.config.timeouts.error_body)
        error = self.assert_ended(client, 403, "relayed_error", None)
        self.assertEqual(error["message"], "The upstream answered with status 403.")

    def test_redirect(self) -> None:
        """A response that is neither an answer nor an error becomes an event as well."""
        client = self.bridged("a")
        self.wire.says(whole(302, b"", JSON, b"Location: /x"))
        self.assert_ended(client, 302, "relayed_error", None)

    def test_no_stream(self) -> None:
        """A plain 2xx cannot be relayed within a stream, whether it is whole or begins."""
        for commit in (Commit.BYTE, Commit.CONTENT):
            for says in (whole(200, b"{}"), head(200, b"text/html") + chunk(b"x")):
                self.build(commit=commit)
                client = self.bridged("a")
                self.wire.says(says)
                code = "upstream_stream_interrupted"
                error = self.assert_ended(client, 502, "failed", code)
                self.assertIn("not an event stream", error["message"])

    def test_total_deadline(self) -> None:
        """The total deadline ends it with an event."""
        self.build(total=5.0)
        client = self.bridged("a")
        self.clock.advance(4)
        self.assert_ended(client, 504, "failed", "upstream_total_timeout")

    def test_shutdown(self) -> None:
        """So does a shutdown."""
        client = self.bridged()
        self.proxy.shut_down()
        self.assert_ended(client, 503, "refused", "draining")

    def test_client_leaves(self) -> None:
        """A client that leaves ends the call and the comments."""
        client = self.bridged()
        client.leaves()
        self.assertTrue(self.wire.aborted)
        self.assertEqual(self.record.outcome, "client_gone")
        client.exchange = None

    def test_fault(self) -> None:
        """An exception in the router is a 500 in an event, as nothing is committed."""
        client = self.bridged()
        policy = "autopilot.relay.exchange_retries.retry_policy.at_head"
        with patch(policy, side_effect=ZeroDivisionError):
            self.wire.says(whole(503, b""))
        self.assert_ended(client, 500, "failed", "internal_error")
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)


class WhenTests(BridgeTestCase):
    """Which requests are bridged."""

    def settle(self, seconds: float) -> None:
        """Bridge all streams after so many seconds."""
        parsing = ParseConfig.of(
            Rules(frozenset({ALIAS}), 8), Commit.CONTENT, 100_000, keep_alive=seconds
        )
        self.proxy.configure(replace(self.config, parsing=parsing))

    def begins(self, *fields: Any, **more: Any) -> bool:
        """Return whether a request's response has begun after a second; it leaves then."""
        client = self.ask("a", *fields, **more)
        self.clock.advance(SECOND)
        begun = client.down.head is not None
        client.leaves()
        client.exchange = None
        return begun

    def test_setting_and_header(self) -> None:
        """The header goes before the setting, an empty one does not count, and 0 turns it off."""
        name = EACH[0]
        for setting, value, begins in (
            (0, None, False),
            (0, b"1000", True),
            (0, b"1001", False),
            (0, b"", False),
            (SECOND, None, True),
            (SECOND, b" ", True),
            (SECOND, b"0", False),
            (60, b"1000", True),
        ):
            self.settle(setting)
            fields = () if value is None else ((name, value),)
            self.assertIs(self.begins(*fields), begins, (setting, value))

    def test_never(self) -> None:
        """Never are plain answers, counts of tokens, and what goes to a client of HTTP/1.0."""
        self.assertTrue(self.begins(EACH))
        self.assertFalse(self.begins(EACH, stream=False))
        count = {"dialect": Dialect.MESSAGES, "path": b"/v1/messages/count_tokens"}
        self.assertFalse(self.begins(EACH, **count))
        self.addCleanup(setattr, RecordingDownstream, "chunks", RecordingDownstream.chunks)
        RecordingDownstream.chunks = False  # type: ignore[assignment,method-assign]
        self.assertFalse(self.begins(EACH))
