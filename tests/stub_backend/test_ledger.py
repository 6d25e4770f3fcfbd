"""Tests of the ledger of tokens and cost."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from stub_backend import StubOptions
from stub_backend.ledger import Price, Told, told
from tests.stub_backend.exchange import QUICK, Exchange

CHAT = "/v1/chat/completions"
SLOW = StubOptions(token_delay=1.0, tokens=8)
ASKED = b'{"model":"stub/%b","stream":true,"messages":[{"role":"user","content":"a b"}]}'


class ToldTests(SynchronousTestCase):
    """The counts in an answer's bytes."""

    def test_each_api(self) -> None:
        """Each API has its own names, and Anthropic counts cached tokens beside the others."""
        expected = Told(10, 4, 7, 2)
        chat = (
            b'{"usage":{"prompt_tokens":10,"completion_tokens":7,"reasoning_tokens":2,'
            b'"prompt_tokens_details":{"cached_tokens":4}}}'
        )
        responses = (
            b'{"response":{"usage":{"input_tokens":10,"input_tokens_details":{"cached_tokens":4},'
            b'"output_tokens":7,"output_tokens_details":{"reasoning_tokens":2}}}}'
        )
        self.assertEqual(told(chat), expected)
        self.assertEqual(told(b"data: " + chat + b"\n\n"), expected)
        self.assertEqual(told(b"event: response.completed\ndata: " + responses), expected)
        start = (
            b'data: {"message":{"usage":{"input_tokens":6,"cache_read_input_tokens":4,'
            b'"output_tokens":1}}}'
        )
        self.assertEqual(told(start), Told(10, 4, 1))
        self.assertEqual(told(start, b'data: {"usage":{"output_tokens":7}}'), Told(10, 4, 7))

    def test_nothing(self) -> None:
        """Bytes without counts, or with half an event, tell nothing."""
        half = b'{"usage":{"prompt_tokens":1'
        for data in (b"", b"data: [DONE]", half, b"[]", b'{"usage":null}'):
            self.assertEqual(told(data), Told())

    def test_last(self) -> None:
        """Running totals are not added up."""
        running = b"".join(b'data: {"usage":{"completion_tokens":%d}}\n\n' % n for n in (1, 2, 3))
        self.assertEqual(told(running).completion, 3)

    def test_cost(self) -> None:
        """Cached tokens have their own price; the sum is exact."""
        price = Price(Decimal("0.1"), Decimal("0.01"), Decimal("0.4"))
        self.assertEqual(price.cost(Told(10, 4, 7, 2)), Decimal("0.00000344"))


class AccountTests(SynchronousTestCase):
    """The accounts of a running stub."""

    def setUp(self) -> None:
        """Start a stub whose tokens come once a second."""
        self.exchange = Exchange(SLOW)

    def account(self, model: str) -> dict[str, Any]:
        """Return a model's account as another process reads it."""
        answer = self.exchange.another().fetch("GET", "/stub/ledger")
        account: dict[str, Any] = answer.json()[model]
        return account

    def stream(self, scenario: str, seconds: float = 60.0) -> None:
        """Request a stream on a new connection, and read it for some seconds."""
        self.exchange = self.exchange.another()
        self.exchange.send("POST", CHAT, ASKED % scenario.encode())
        self.exchange.run(seconds)

    def test_whole_answers(self) -> None:
        """Whole answers of all APIs count with what they reported."""
        self.exchange = Exchange(QUICK)
        expected = Told()
        for path in (CHAT, "/v1/messages", "/v1/responses", "/v1/completions"):
            for scenario in ("ok", "reasoning", "reasoning-vllm", "tool-call"):
                for stream in (False, True):
                    answer = self.exchange.ask(f"stub/{scenario}", path=path, stream=stream)
                    assert answer is not None
                    expected += told(answer.body)
        accounts = self.exchange.stub.ledger.accounts.values()
        self.assertEqual(sum((each.told for each in accounts), Told()), expected)
        self.assertEqual([each.requests for each in accounts], [8] * 4)
        # 4 words and the template; reasoning is not counted by every API and engine.
        self.assertEqual(expected.prompt, 32 * 12)
        self.assertEqual(expected.completion, 8 * (24 + 30 + 30 + 3))
        self.assertTrue(0 < expected.reasoning < 6 * 16)

    def test_any_form(self) -> None:
        """Counts are read from any line ends and pieces, and from the ends of a long answer."""
        self.exchange = Exchange(QUICK)
        for scenario, path, stream in (
            ("crlf", CHAT, True),
            ("byte-by-byte", CHAT, True),
            ("chunked-plain", CHAT, False),
            ("huge", "/v1/messages", True),
        ):
            self.exchange = self.exchange.another()
            answer = self.exchange.ask(f"stub/{scenario}", path=path, stream=stream)
            assert answer is not None
            account = self.exchange.stub.ledger.accounts[f"stub/{scenario}"]
            self.assertEqual(account.told, told(answer.body), scenario)
            self.assertEqual(account.told.prompt, 12)
            self.assertGreater(account.told.completion, 1)

    def test_broken(self) -> None:
        """A cut stream counts what it reported before, and is broken; an error is neither."""
        self.stream("drop-mid-stream")
        self.stream("503-cold")
        self.stream("close")
        account = self.account("stub/drop-mid-stream")
        self.assertEqual((account["requests"], account["broken"]), (1, 1))
        self.assertEqual((account["prompt_tokens"], account["completion_tokens"]), (10, 4))
        self.assertEqual(self.account("stub/503-cold")["broken"], 0)
        self.assertEqual(self.account("stub/503-cold")["prompt_tokens"], 0)
        self.assertEqual(self.account("stub/close")["broken"], 1)

    def test_cancelled(self) -> None:
        """A stream whose client leaves counts what it reported until then."""
        self.stream("ok", 3.5)
        self.exchange.leave()
        account = self.account("stub/ok")
        self.assertEqual((account["cancelled"], account["broken"]), (1, 0))
        self.assertEqual((account["prompt_tokens"], account["completion_tokens"]), (10, 3))

    def test_cost(self) -> None:
        """The cost is that of the catalog's prices, as a plain decimal."""
        self.stream("ok")
        entries = self.exchange.another().fetch("GET", "/v1/models").json()["data"]
        pricing = next(each["pricing"] for each in entries if each["id"] == "stub/ok")
        expected = 10 * Decimal(str(pricing["prompt"])) + 8 * Decimal(str(pricing["completion"]))
        self.assertEqual(Decimal(self.account("stub/ok")["cost_dollars"]), expected / 1_000_000)
        self.assertEqual(self.exchange.stub.ledger.cost("stub/ok"), expected / 1_000_000)
        self.assertNotIn("E", self.account("stub/ok")["cost_dollars"])

    def test_without_prices(self) -> None:
        """The cost of a model without prices is unknown."""
        external = next(each for each in self.exchange.stub.population.chat if each.external)
        self.exchange.stub.script(external.name, ["ok"])
        body = ASKED.replace(b"stub/%b", external.name.encode())
        self.exchange.send("POST", CHAT, body)
        self.exchange.run()
        self.assertIsNone(self.account(external.name)["cost_dollars"])
        self.assertEqual(self.exchange.stub.ledger.cost(external.name), 0)

    def test_reset(self) -> None:
        """A reset empties it; a call that was in progress counts no more."""
        self.stream("ok", 3.5)
        self.exchange.stub.reset()
        self.exchange.run()
        self.exchange.leave()
        self.assertEqual(self.exchange.stub.ledger.as_json(), {})
