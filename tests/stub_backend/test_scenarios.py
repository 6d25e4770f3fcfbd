"""Tests of every scenario, streaming and plain, on every API."""

from __future__ import annotations

import json

from twisted.trial.unittest import SynchronousTestCase

from stub_backend import SCENARIOS, Ending, Scenario
from stub_backend.call import DIALECTS
from tests.stub_backend.exchange import Answer, Exchange

PLAIN_ALIKE = {"reset", "close", "hang-head", "malformed-head"}
ALWAYS_STREAMED = {"trace-envelope"}


class TableTests(SynchronousTestCase):
    """The table of scenarios."""

    def check(self, exchange: Exchange, scenario: Scenario) -> None:
        """Assert that head and end of a streaming chat call are as listed."""
        answer = exchange.ask(scenario.model, stream=True)
        where = scenario.name
        self.assertEqual(exchange.last.scenario, scenario.name)
        self.assertEqual(answer.status if answer else None, scenario.status, where)
        self.assertEqual(answer.content_type if answer else None, scenario.content_type, where)
        self.assertEqual(_ending(exchange, answer), scenario.ending, where)
        self.assertEqual(exchange.last.ended, scenario.ending is not Ending.HANG, where)

    def test_each_streaming(self) -> None:
        """Status, content type and ending of each scenario are as listed."""
        first = Exchange()
        for scenario in SCENARIOS.values():
            self.check(first.another(), scenario)

    def test_each_plain(self) -> None:
        """A plain call of each scenario has the listed status, and JSON with a 200."""
        first = Exchange()
        for scenario in SCENARIOS.values():
            answer = first.another().ask(scenario.model)
            if scenario.name in PLAIN_ALIKE:
                self.assertIsNone(answer, scenario.name)
                continue
            assert answer is not None, scenario.name
            self.assertEqual(answer.status, scenario.status, scenario.name)
            if answer.status == 200 and scenario.name not in ALWAYS_STREAMED:
                self.assertEqual(answer.content_type, "application/json", scenario.name)

    def test_every_api(self) -> None:
        """No scenario fails on any API, streaming or plain."""
        first = Exchange()
        for path in DIALECTS:
            for scenario in SCENARIOS.values():
                for stream in (True, False):
                    exchange = first.another()
                    exchange.ask(scenario.model, path=path, stream=stream)
                    self.assertEqual(exchange.last.scenario, scenario.name)
        self.assertEqual(self.flushLoggedErrors(), [])

    def test_success_headers_never_on_errors(self) -> None:
        """Successful responses have the platform's headers, errors do not."""
        first = Exchange()
        for scenario in SCENARIOS.values():
            answer = first.another().ask(scenario.model)
            if answer is not None and answer.status >= 300:
                self.assertIsNone(answer.header("x-chutes-invocationid"), scenario.name)
        good = Exchange().ask("stub/ok")
        assert good is not None
        self.assertIsNotNone(good.header("x-chutes-invocationid"))

    def test_same_request_same_answer(self) -> None:
        """Two stubs respond to equal requests with equal bytes, except the date."""
        first, second = Exchange(), Exchange()
        one, two = first.ask("stub/ok", stream=True), second.ask("stub/ok", stream=True)
        assert one is not None
        assert two is not None
        self.assertEqual(one.body, two.body)


def _ending(exchange: Exchange, answer: Answer | None) -> Ending:
    if exchange.transport.disconnected:
        return Ending.RESET
    if exchange.transport.disconnecting and not (answer and answer.complete):
        return Ending.CUT
    return Ending.CLEAN if answer and answer.complete else Ending.HANG


class BodyTests(SynchronousTestCase):
    """The bodies that a router must distinguish."""

    def body(self, model: str, *, stream: bool = True) -> bytes:
        """Return the body of one call."""
        answer = Exchange().ask(model, stream=stream)
        assert answer is not None
        return answer.body

    def test_details(self) -> None:
        """Application errors are `detail` as a string, an object or a list."""
        kinds = {"503-cold": str, "402-quota": dict, "422-list": list, "400-engine-object": dict}
        for name, kind in kinds.items():
            answer = Exchange().ask(f"stub/{name}")
            assert answer is not None
            self.assertIsInstance(answer.json()["detail"], kind, name)

    def test_every_detail(self) -> None:
        """Every JSON error has a `detail`, except those of the edge's validator and of engines."""
        others = {"400-edge-error", "429-engine", "500-engine"}
        for scenario in SCENARIOS.values():
            if (scenario.status or 0) >= 400 and scenario.content_type == "application/json":
                members = set(json.loads(self.body(scenario.model)))
                envelope = "error" if scenario.name in others else "detail"
                self.assertEqual(members, {envelope}, scenario.name)

    def test_reused(self) -> None:
        """A 408 comes on a connection that carried a request before, whatever that was."""
        exchange = Exchange()
        self.assertEqual(exchange.fetch("GET", "/v1/models").status, 200)
        self.assertFalse(exchange.last.reused)
        answer = exchange.ask("stub/408-reused")
        assert answer is not None
        self.assertEqual((answer.status, exchange.last.reused), (408, True))
        self.assertTrue(exchange.transport.disconnecting)
        for stream in (False, True):
            answer = exchange.another().ask("stub/408-reused", stream=stream)
            assert answer is not None
            self.assertEqual(answer.status, 200)

    def test_names_are_filled_in(self) -> None:
        """A detail names the requested model or chute."""
        self.assertIn(b"model not found: stub/404-model", self.body("stub/404-model"))
        self.assertNotIn(b"{id}", self.body("stub/503-cold"))

    def test_edge_pages(self) -> None:
        """The edge responds with HTML; the ingress's names nginx."""
        self.assertIn(b"<center>nginx</center>", self.body("stub/429-edge-html"))
        self.assertTrue(self.body("stub/502-html").startswith(b"<!DOCTYPE html>"))

    def test_reason_phrases(self) -> None:
        """A status has the phrase of its RFC, also where Twisted has none."""
        for model, line in (
            ("stub/429-capacity", b"HTTP/1.1 429 Too Many Requests"),
            ("stub/503-cold", b"HTTP/1.1 503 Service Unavailable"),
        ):
            exchange = Exchange()
            exchange.ask(model)
            self.assertEqual(exchange.transport.value().partition(b"\r\n")[0], line)

    def test_bare_json_tail(self) -> None:
        """The error at the end has no field name, blank line or terminator."""
        tail = self.body("stub/bare-json-tail").rpartition(b"\n\n")[2]
        self.assertTrue(tail.startswith(b'{"error":"Unhandled exception'))

    def test_cut_counts_tokens(self) -> None:
        """The cut stream has 40 tokens and no finish reason."""
        body = self.body("stub/cut-40-of-60")
        self.assertEqual(body.count(b"data: "), 41)
        self.assertNotIn(b"[DONE]", body)
        self.assertEqual(self.body("stub/stall-after-20").count(b"data: "), 21)

    def test_spliced(self) -> None:
        """The second generation has another id and repeats the role."""
        body = self.body("stub/spliced")
        self.assertEqual(body.count(b'"role":"assistant"'), 2)
        self.assertEqual(body.count(b"data: [DONE]"), 1)

    def test_spliced_role(self) -> None:
        """The second generation may have the same id."""
        answer = Exchange().ask("stub/spliced-role", stream=True)
        assert answer is not None
        ids = {json.loads(data)["id"] for data in answer.events() if data != "[DONE]"}
        self.assertEqual(len(ids), 1)
        self.assertEqual(answer.body.count(b'"role":"assistant"'), 2)

    def test_cut_mid_event(self) -> None:
        """The last event is incomplete."""
        body = self.body("stub/cut-mid-event")
        self.assertFalse(body.endswith(b"\n"))
        self.assertEqual(body.count(b"\n\n"), body.count(b"data: ") - 1)

    def test_endings_of_good_starts(self) -> None:
        """A missing terminator, an event that is not JSON, and an empty stream."""
        self.assertNotIn(b"[DONE]", self.body("stub/no-done"))
        self.assertIn(b'"choices":[{"i\n\n', self.body("stub/broken-json-event"))
        self.assertEqual(self.body("stub/empty-stream"), b"")
        self.assertEqual(self.body("stub/role-only-then-end").count(b"data: "), 1)
        said = self.body("stub/nothing-said")
        self.assertEqual((said.count(b"data: "), said.endswith(b"[DONE]\n\n")), (2, True))

    def test_line_ends_and_comments(self) -> None:
        """CRLF line ends, and comments before the first event."""
        body = self.body("stub/crlf")
        self.assertEqual(body.count(b"\n"), body.count(b"\r\n"))
        self.assertTrue(self.body("stub/comments").startswith(b": ping\n\n"))

    def test_huge(self) -> None:
        """The huge response has the size of the options, plain and streamed."""
        exchange = Exchange()
        plain = exchange.ask("stub/huge")
        assert plain is not None
        text = plain.json()["choices"][0]["message"]["content"]
        self.assertEqual(len(text), exchange.stub.options.huge_bytes)
        streamed = Exchange().ask("stub/huge", stream=True)
        assert streamed is not None
        self.assertGreater(len(streamed.body), exchange.stub.options.huge_bytes)

    def test_no_prefill(self) -> None:
        """A last message of the assistant is rejected, one of the user is not."""
        said = [{"role": "assistant", "content": "Once"}]
        error_response = Exchange().ask("stub/no-prefill", messages=said)
        taken = Exchange().ask("stub/no-prefill")
        assert error_response is not None
        assert taken is not None
        self.assertEqual((error_response.status, taken.status), (400, 200))

    def test_connection_close(self) -> None:
        """The connection closes after the response only if the head says so."""
        for model, closes in (("connection-close", True), ("413", True), ("ok", False)):
            exchange = Exchange()
            answer = exchange.ask(f"stub/{model}")
            assert answer is not None
            self.assertTrue(answer.complete)
            self.assertEqual(exchange.transport.disconnecting, closes)

    def test_echo_headers(self) -> None:
        """The response contains the request's headers as JSON."""
        answer = Exchange().ask("stub/echo-headers")
        assert answer is not None
        self.assertIn(["Host", "stub"], answer.json()["headers"])
