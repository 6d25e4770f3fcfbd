"""The tokens of answers and their cost, as records have them."""

from __future__ import annotations

import json
from dataclasses import replace
from decimal import Decimal
from typing import Any
from unittest.mock import patch

from autopilot.http.dialect import Dialect
from autopilot.relay.sse_guard import GuardLevel
from autopilot.routing.catalog import Catalog, Model
from autopilot.routing.commit import Commit
from autopilot.routing.pricing import Prices
from autopilot.routing.snapshot import Snapshot
from autopilot.routing.usage import Usage
from autopilot.state.tables import StateTables
from tests.unit.relay.routers import RouterTestCase, snapshot
from tests.unit.relay.upstreams import DONE, ROLE, STOP, TOKEN, chunk, head, whole

CHAT, MESSAGES, RESPONSES = Dialect.COMPLETIONS, Dialect.MESSAGES, Dialect.RESPONSES
PRICES = Prices(Decimal("0.25"), Decimal(1), Decimal("0.05"))
TOLD: dict[str, Any] = {
    "prompt_tokens": 100,
    "completion_tokens": 20,
    "prompt_tokens_details": {"cached_tokens": 60},
}
USAGE, COST = Usage(100, 60, 20), 40 * 250_000 + 60 * 50_000 + 20 * 1_000_000


def event(**members: Any) -> bytes:
    """One event of a stream."""
    return b"data: %b\n\n" % json.dumps(members, separators=(",", ":")).encode()


def said(completion: int, prompt: int = 9) -> bytes:
    """One token of a chat completion, with the running total."""
    choice = {"index": 0, "delta": {"content": "hi"}}
    usage = {"prompt_tokens": prompt, "completion_tokens": completion}
    return event(id="1", choices=[choice], usage=usage)


START = event(
    type="message_start",
    message={"usage": {"input_tokens": 40, "cache_read_input_tokens": 60, "output_tokens": 1}},
)
TEXT = event(type="content_block_delta", index=0, delta={"type": "text_delta", "text": "hi"})
END = event(type="message_delta", delta={"stop_reason": "end_turn"}, usage={"output_tokens": 20})
MESSAGE_STOP = event(type="message_stop")


class UsageTestCase(RouterTestCase):
    """A router whose models have prices, except ``c``."""

    def setUp(self) -> None:
        """Give the catalog prices."""
        super().setUp()
        models = [
            Model(name, chute_id=name, tee=True, prices=prices)
            for name, prices in (("a", PRICES), ("b", PRICES), ("c", Prices()))
        ]
        ranking = snapshot(a=1, b=1, c=1).ranking
        self.snapshot = Snapshot(Catalog.of(models), ranking, 990.0, 995.0)

    @property
    def header(self) -> bytes | None:
        """The cost that the last client received."""
        return self.clients[-1].down.field(b"x-chutes-autopilot-cost")

    def assert_reported(self, usage: Usage | None, cost: int | None) -> None:
        """Check the one record."""
        self.assertEqual((self.record.usage, self.record.cost_picodollars), (usage, cost))


class PlainTests(UsageTestCase):
    """Answers that are no streams."""

    def answer(self, value: object, model: str = "a", dialect: Dialect = CHAT) -> None:
        """Answer a request with a JSON document that arrives whole."""
        self.build()
        self.records.clear()
        self.ask(model, stream=False, dialect=dialect)
        self.wire.says(whole(200, json.dumps(value).encode()))

    def test_dialects(self) -> None:
        """Each dialect reports its usage in its own names, anywhere in the answer."""
        for dialect, value in (
            (CHAT, {"choices": [{"finish_reason": "stop"}], "usage": TOLD}),
            (CHAT, {"usage": TOLD, "choices": [{"text": "x" * 100_000}]}),
            (MESSAGES, {"type": "message", "content": [{"text": "hi"}], "usage": {
                "input_tokens": 40, "cache_read_input_tokens": 60, "output_tokens": 20}}),
            (RESPONSES, {"status": "completed", "output": [1], "usage": {
                "input_tokens": 100, "input_tokens_details": {"cached_tokens": 60},
                "output_tokens": 20}}),
        ):  # fmt: skip
            self.answer(value, dialect=dialect)
            self.assert_reported(USAGE, COST)
            self.assertEqual(self.header, b"0.000033")

    def test_tool_with_a_usage(self) -> None:
        """An object within the answer that looks like a usage is none."""
        tool = {"type": "tool_use", "input": {"usage": {"output_tokens": 5}}}
        self.answer({"type": "message", "content": [tool]}, dialect=MESSAGES)
        self.assert_reported(None, None)

    def test_unknown(self) -> None:
        """Without a usage, or without prices, there is no cost."""
        self.answer({"choices": [{}]})
        self.assert_reported(None, None)
        self.answer({"choices": [{}], "usage": None})
        self.assert_reported(None, None)
        self.answer({"choices": [{}], "usage": TOLD}, "c")
        self.assert_reported(USAGE, None)
        self.assertIsNone(self.header)
        self.snapshot = Snapshot(None)
        self.answer({"choices": [{}], "usage": TOLD})
        self.assert_reported(USAGE, None)

    def test_unusual(self) -> None:
        """So does an answer that only a lenient parser reads."""
        self.ask("a", stream=False)
        body = b'{"choices":[{"logprobs":[NaN]}],"usage":%b}' % json.dumps(TOLD).encode()
        self.wire.says(whole(200, body))
        self.assert_reported(USAGE, COST)

    def test_errors(self) -> None:
        """An error reports nothing, whatever it says."""
        for status in (400, 503):
            self.build()
            self.records.clear()
            self.ask("a", stream=False)
            self.wire.says(whole(status, json.dumps({"error": 1, "usage": TOLD}).encode()))
            self.assert_reported(None, None)
            self.assertIsNone(self.header)

    def test_upstream_header(self) -> None:
        """An upstream's own field of that name never passes, whatever the router knows."""
        field = b"X-Chutes-Autopilot-Cost: 9"
        known = json.dumps({"choices": [{}], "usage": TOLD}).encode()
        for body, value in ((known, b"0.000033"), (b'{"choices":[{}]}', None)):
            self.build()
            self.ask("a", stream=False)
            self.wire.says(whole(200, body, b"application/json", field))
            self.assertEqual(self.header, value)
        self.build()
        self.ask("a")
        self.wire.says(head(200, b"text/event-stream", field), chunk(said(1) + DONE))
        self.assertIsNone(self.header)

    def test_in_parts(self) -> None:
        """An answer that is committed in parts reports as much, held before or not."""
        body = json.dumps({"choices": [{"text": "x" * 9000}], "usage": TOLD}).encode()
        for model, commit in (("a", Commit.BYTE), ("a", Commit.COMPLETE), ("a,b", Commit.CONTENT)):
            self.build(commit=commit)
            self.records.clear()
            self.ask(model, stream=False)
            self.wire.says(head(200, b"application/json"), chunk(body[:50]))
            self.wire.says(*[chunk(body[at : at + 700]) for at in range(50, len(body), 700)])
            self.wire.says(chunk(b""))
            self.assert_reported(USAGE, COST)
            self.assertEqual(self.header, None if commit is Commit.BYTE else b"0.000033")


class StreamTests(UsageTestCase):
    """Streams."""

    def answer(
        self, *events: bytes, dialect: Dialect = CHAT, model: str = "a", **built: Any
    ) -> None:
        """Begin to answer a request with events, one chunk each."""
        self.build(**built)
        self.records.clear()
        self.ask(model, dialect=dialect)
        self.wire.says(head(), *map(chunk, events))

    def test_dialects(self) -> None:
        """Each dialect reports its usage at the end, Anthropic's a part of it in the beginning."""
        completed = {"status": "completed", "usage": {"input_tokens": 100, "output_tokens": 20,
                     "input_tokens_details": {"cached_tokens": 60}}}  # fmt: skip
        for dialect, events in (
            (CHAT, (ROLE, said(1), said(2), STOP, event(choices=[], usage=TOLD), DONE)),
            (MESSAGES, (START, TEXT, END, MESSAGE_STOP)),
            (MESSAGES, (START, *(TEXT,) * 200, END, MESSAGE_STOP)),
            (
                RESPONSES,
                (
                    event(type="response.created", response={"usage": None}),
                    event(type="response.output_text.delta", delta="hi"),
                    event(type="response.completed", response=completed),
                ),
            ),
        ):
            for guard in GuardLevel:
                for model in ("a", "a,b"):
                    self.answer(*events, dialect=dialect, guard=guard, model=model)
                    if not self.records:
                        self.wire.says(chunk(b""))
                    self.assert_reported(USAGE, COST)
                    self.assertIsNone(self.header)

    def test_legacy(self) -> None:
        """Text completions report theirs like chats."""
        self.answer(event(choices=[{"text": "hi"}]), event(choices=[], usage=TOLD), DONE)
        self.assert_reported(USAGE, COST)

    def test_broken(self) -> None:
        """An answer that breaks counts what it reported before, however it ends."""
        for end in ("reset", "end", "inside", "left", "stopped", "idle"):
            self.answer(ROLE, said(1), said(2), said(3, 9))
            match end:
                case "reset":
                    self.wire.resets()
                case "end":
                    self.wire.says(chunk(b""))
                case "inside":
                    self.wire.says(chunk(said(4)[:-9]))
                    self.wire.resets()
                case "left":
                    self.clients[-1].leaves()
                case "stopped":
                    self.proxy.shut_down()
                case "idle":
                    self.clock.advance(200)
            self.assert_reported(Usage(9, None, 3), 9 * 250_000 + 3 * 1_000_000)

    def test_broken_message(self) -> None:
        """Of a message that breaks the prompt is known, and the tokens of its first event."""
        for tokens in (1, 500):
            self.answer(START, *(TEXT,) * tokens, dialect=MESSAGES)
            self.wire.resets()
            self.assert_reported(Usage(100, 60, 1), 40 * 250_000 + 60 * 50_000 + 1_000_000)

    def test_withheld(self) -> None:
        """The event by which a model gives up is withheld, but its count is read."""
        gave_up = END.replace(b"end_turn", b"abort")
        for events in (
            (START, TEXT, gave_up),
            (START, TEXT, gave_up[:30], gave_up[30:]),
            (START, TEXT, gave_up[:-1], gave_up[-1:]),
            (START + TEXT + gave_up,),
        ):
            self.answer(*events, dialect=MESSAGES)
            self.assertNotIn(b"abort", self.clients[-1].down.body)
            self.assert_reported(USAGE, COST)

    def test_nothing_told(self) -> None:
        """An answer that breaks before its only usage reports nothing."""
        self.answer(ROLE, TOKEN, TOKEN)
        self.wire.resets()
        self.assert_reported(None, None)

    def test_speed(self) -> None:
        """A model's speed is computed from the tokens reported, else from the events."""
        for dialect, events, tokens in (
            (CHAT, (said(1), said(20), said(40)), 40),
            (CHAT, (TOKEN, TOKEN), 2),
            (MESSAGES, (START, TEXT, TEXT), 3),
        ):
            counted: list[float] = []

            def ended(_: object, model: str, first: float, tokens: int, *rest: object) -> None:
                counted.append(tokens)  # noqa: B023  called within the round

            self.answer(*events, dialect=dialect)
            with patch.object(StateTables, "ended", ended):
                self.clients[-1].leaves()
            self.assertEqual(counted, [tokens])


class FailoverTests(UsageTestCase):
    """Attempts that were replaced."""

    def test_plain(self) -> None:
        """What a given-up answer reported stands with its attempt, and does not count twice."""
        gave_up = {"choices": [{"finish_reason": "abort"}], "usage": TOLD}
        self.ask("a,c,b", stream=False)
        self.wire.says(whole(200, json.dumps(gave_up).encode()))
        self.wire.says(whole(200, json.dumps(gave_up).encode()))
        fine = {"choices": [{}], "usage": {"prompt_tokens": 8, "completion_tokens": 1}}
        self.wire.says(whole(200, json.dumps(fine).encode()))
        self.assert_reported(Usage(8, None, 1), 8 * 250_000 + 1_000_000)
        reported = [(each.usage, each.cost_picodollars) for each in self.record.failovers]
        self.assertEqual(reported, [(USAGE, COST), (USAGE, None)])

    def test_held_stream(self) -> None:
        """So does what a stream reported that was held and broke."""
        self.build(commit=Commit.COMPLETE)
        self.ask("a,b")
        self.wire.says(head(), chunk(said(1)), chunk(said(2)))
        self.wire.resets()
        self.wire.says(head(), chunk(said(5)), chunk(STOP + DONE))
        self.assert_reported(Usage(9, None, 5), 9 * 250_000 + 5 * 1_000_000)
        (failed,) = self.record.failovers
        self.assertEqual(failed.usage, Usage(9, None, 2))

    def test_error(self) -> None:
        """An error reports nothing."""
        self.ask("a,b", stream=False)
        self.wire.says(whole(503, json.dumps({"usage": TOLD}).encode()))
        self.wire.says(whole(200, b'{"choices":[{}]}'))
        self.assert_reported(None, None)
        (failed,) = self.record.failovers
        self.assertIsNone(failed.usage)

    def test_client_leaves(self) -> None:
        """A client that leaves while an answer is held pays for what it reported."""
        self.build(commit=Commit.COMPLETE)
        client = self.ask("a,b")
        self.wire.says(head(), chunk(said(1)), chunk(said(2)))
        client.leaves()
        self.assert_reported(Usage(9, None, 2), 9 * 250_000 + 2 * 1_000_000)

    def test_shut_down(self) -> None:
        """So does one whose answer is still held when the router stops."""
        self.build(commit=Commit.COMPLETE)
        client = self.ask("a,b")
        self.wire.says(head(), chunk(said(1)), chunk(said(2)))
        self.proxy.shut_down()
        self.assert_refused(client, 503, "draining")
        self.assert_reported(Usage(9, None, 2), 9 * 250_000 + 2 * 1_000_000)

    def test_nobody_left(self) -> None:
        """With no candidate left the usage stands with the failure alone."""
        self.build(commit=Commit.COMPLETE)
        client = self.ask("a")
        self.wire.says(head(), chunk(said(1)), chunk(said(2)))
        self.wire.resets()
        self.assertEqual(client.down.status, 502)
        self.assert_reported(None, None)
        (failed,) = self.record.failovers
        self.assertEqual(failed.usage, Usage(9, None, 2))

    def test_client_leaves_in_a_pause(self) -> None:
        """What a failed attempt reported does not count for the request as well."""
        client = self.ask("a,b", stream=False)
        gave_up = {"choices": [{"finish_reason": "abort"}], "usage": TOLD}
        self.wire.says(whole(200, json.dumps(gave_up).encode()))
        client.leaves()
        self.assert_reported(None, None)
        (failed,) = self.record.failovers
        self.assertEqual(failed.usage, USAGE)


class OffTests(UsageTestCase):
    """`USAGE=off`."""

    def build(self, **given: Any) -> None:
        """Turn it off."""
        super().build(**given)
        self.config = replace(self.config, reads_usage=False)
        self.proxy.configure(self.config)

    def test_nothing_read(self) -> None:
        """No usage is read, of plain answers, streams, or what another attempt replaced."""
        answer = json.dumps({"choices": [{"finish_reason": "stop"}], "usage": TOLD}).encode()
        stream = said(1) + said(40) + STOP + DONE
        for says in (
            (whole(200, answer),),
            (head(200, b"application/json") + chunk(answer[:30]), chunk(answer[30:]) + chunk(b"")),
            (whole(200, b'{"choices":[{"logprobs":[NaN]}],"usage":{"prompt_tokens":1}}'),),
            (head() + chunk(stream),),
        ):
            self.build()
            client = self.ask("a", stream=says[0].startswith(head()))
            self.wire.says(*says)
            self.assertEqual(client.down.ended, "finish")
            self.assert_reported(None, None)
        self.build(commit=Commit.COMPLETE)
        self.ask("a,b")
        self.wire.says(head(), chunk(said(1)))
        self.wire.resets()
        self.wire.says(head(), chunk(said(2)))
        self.clients[-1].leaves()
        self.assert_reported(None, None)
        self.assertIsNone(self.record.failovers[0].usage)
