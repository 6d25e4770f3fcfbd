"""A platform that differs from the stub: the run reports it, continues, or stops."""

from __future__ import annotations

import json
import re
from typing import Any

from twisted.internet.defer import Deferred
from twisted.trial.unittest import TestCase
from twisted.web.server import Request, Site

from stub_backend.answers.pages import nginx_page
from tests.rigs.live.fixtures import (
    FAKE,
    PARTS,
    Deviating,
    InProcess,
    leaks,
    model_of,
    reactor,
    said,
    stub_as_platform,
)
from tests.rigs.live.redact import Redactor

JSON = "application/json"
_SOME = ("catalog", "feed", "auth-wrong", "unknown-model", "chat-stream-sglang", "list",
         "relay-plain")  # fmt: skip
CAPACITY = b'{"detail":"Infrastructure is at maximum capacity, try again later"}'


class DeviationTests(TestCase):
    """One deviation at a time."""

    timeout = 60

    def run_of(self, deviating: Deviating, *only: str, **more: Any) -> Deferred[InProcess]:
        """Run the checks against such a platform."""
        run = InProcess(self.mktemp(), deviating)
        return run.play(*only, **more).addCallback(lambda _: run)

    async def test_status_text_and_header(self) -> None:
        """An unknown model gives another status, another text and one more header."""

        def answer(request: Request) -> bytes | None:
            if model_of(request) is None or "no-such" not in str(model_of(request)):
                return None
            request.setHeader("retry-after", "7")
            return said(request, 400, JSON, b'{"detail":"nobody of that name"}')

        run = await self.run_of(Deviating(answer), "unknown-model", "auth-wrong")
        self.assertEqual((run.status, run.check("auth-wrong")["outcome"]), (0, "as known"))
        deltas = {each["field"]: each for each in run.check("unknown-model")["deltas"]}
        self.assertEqual(set(deltas), {"status", "header retry-after", "body $.detail"})
        self.assertEqual((deltas["status"]["stub"], deltas["status"]["seen"]), ("404", "400"))
        report = (run.logs / "report.md").read_text()
        self.assertIn("| FIND-1, HEAD-5, OPEN-13 | `unknown-model` | status | 404 | 400 |", report)
        printed = "\n".join(run.lines)
        self.assertIn("FIND-1, HEAD-5, OPEN-13: status: the stand-in says 404; seen 400", printed)

    async def test_stream(self) -> None:
        """A stream has chunks with an additional member, and lacks the end mark."""

        def answer(request: Request) -> bytes | None:
            if request.method != b"POST":
                return None
            chunk = {"id": "x", "choices": [{"delta": {"content": "hi"}}], "new": True}
            return said(request, 200, "text/event-stream", b"data: " + json.dumps(chunk).encode())

        run = await self.run_of(Deviating(answer), "chat-stream-sglang", "relay-stream")
        for name in ("chat-stream-sglang", "relay-stream"):
            fields = {each["field"] for each in run.check(name)["deltas"]}
            self.assertIn("content event $.new", fields)
            self.assertIn("end of the stream", fields)
            self.assertIn("header x-chutes-invocationid", fields)

    async def test_a_header_that_repeats_our_words(self) -> None:
        """A header with a word of the request does not make that word secret."""

        def answer(request: Request) -> bytes | None:
            for value in (request.uri, b"application/json", b"HTTP/1.1"):
                request.responseHeaders.addRawHeader(b"x-matched", value)
            return None

        run = await self.run_of(Deviating(answer), "unknown-model", "catalog")
        for name in ("unknown-model", "catalog", "feed"):
            fields = [each["field"] for each in run.check(name)["deltas"]]
            self.assertEqual(fields, ["header x-matched"], name)

    async def test_catalog(self) -> None:
        """A catalog has a new member, and lacks one that was always present."""

        def answer(request: Request) -> bytes | None:
            if request.path != b"/v1/models":
                return None
            entries = [{"id": f"a/{n}", "owned_by": "vllm", "new": [1]} for n in range(3)]
            value = {"object": "list", "data": entries}
            return said(request, 200, JSON, json.dumps(value).encode())

        run = await self.run_of(Deviating(answer), "catalog", "evidence")
        fields = {each["field"] for each in run.check("catalog")["deltas"]}
        self.assertIn("body $.data[].new", fields)
        self.assertIn("body $.data[].chute_id", fields)
        self.assertEqual(run.check("evidence")["outcome"], "no model for it")
        self.assertIn("3 models, 0 of them TEE, 0 of those with the suffix",
                      run.check("catalog")["facts"])  # fmt: skip

    async def test_no_platform(self) -> None:
        """Invalid feeds end the run with an error."""
        deviating = Deviating(lambda request: said(request, 200, JSON, b'{"data": ['))
        run = await self.run_of(deviating, "catalog", "unknown-model", "chat-plain-vllm")
        self.assertEqual(run.check("catalog")["deltas"][0]["field"], "body")
        self.assertEqual(run.check("chat-plain-vllm")["outcome"], "no model for it")

    async def test_full_model(self) -> None:
        """A response without capacity is compared with the stub's response without capacity."""

        def answer(request: Request) -> bytes | None:
            return said(request, 429, JSON, CAPACITY) if request.method == b"POST" else None

        run = await self.run_of(Deviating(answer), "chat-plain-vllm", "list")
        for name in ("chat-plain-vllm", "list"):
            check = run.check(name)
            self.assertEqual(check["outcome"], "the model was not available")
            self.assertEqual(check["why"], "compared with the scenario 429-capacity")
            self.assertEqual(check["deltas"], [])
        self.assertEqual((run.status, run.report()["stopped"]), (0, None))

    async def test_the_edge_stops_the_run(self) -> None:
        """After an error page of the edge no further call is made, whichever call received it."""
        page = nginx_page("429 Too Many Requests")
        for path in (b"POST", b"/chutes/utilization"):

            def answer(request: Request, path: bytes = path) -> bytes | None:
                limited = path in (request.method, request.path)
                return said(request, 429, "text/html", page) if limited else None

            deviating = Deviating(answer)
            run = await self.run_of(deviating, *_SOME)
            self.assertEqual(run.report()["stopped"], "the edge limits this caller")
            self.assertEqual(run.report()["calls"], len(deviating.asked))
            self.assertEqual(run.status, 1)
            outcomes = [each["outcome"] for each in run.report()["checks"]]
            last = len(deviating.asked)
            self.assertEqual(len(outcomes), len(_SOME))
            after = set(outcomes[last:])
            self.assertTrue(after <= {"not played", "no model for it"}, after)
            self.assertEqual(run.check("list")["why"], "the edge limits this caller")

    async def test_the_edge_through_the_router(self) -> None:
        """The router relays the edge's page and makes no second call."""
        page = nginx_page("429 Too Many Requests")
        deviating = Deviating(
            lambda r: said(r, 429, "text/html", page) if r.method == b"POST" else None
        )
        run = await self.run_of(deviating, "relay-alias", "relay-list", "relay-plain")
        posts = [each for each in deviating.asked if each.startswith("POST")]
        self.assertEqual((len(posts), run.report()["calls"]), (1, 3))
        self.assertEqual(run.check("relay-list")["why"], "the edge limits this caller")

    async def test_a_refused_key_stops_the_run(self) -> None:
        """A refused key ends the run, because no further call could succeed."""
        for status, why in ((401, "the key is refused"), (402, "the account cannot pay")):

            def answer(request: Request, status: int = status) -> bytes | None:
                keyed = FAKE in (request.getHeader("authorization") or "")
                return said(request, status, JSON, b'{"detail":"No."}') if keyed else None

            deviating = Deviating(answer)
            run = await self.run_of(deviating, *_SOME)
            posts = [each for each in deviating.asked if each.startswith("POST")]
            self.assertEqual((run.report()["stopped"], len(posts)), (why, 2))

    async def test_cap(self) -> None:
        """The cap applies to all calls, including those through the router."""
        deviating = Deviating(lambda _: None)
        run = await self.run_of(deviating, "chat-plain-vllm", "relay-plain", "list", calls=4)
        self.assertEqual((len(deviating.asked), run.report()["calls"]), (4, 4))
        self.assertEqual(run.check("relay-plain")["why"], "the cap of 4 calls is reached")
        self.assertEqual(run.status, 1)

    async def test_redirect(self) -> None:
        """A redirect is recorded but not followed, so that the key is not sent elsewhere."""
        elsewhere = Deviating(lambda request: said(request, 200, JSON, b"{}"))
        port = reactor.listenTCP(0, Site(elsewhere), interface="127.0.0.1")
        self.addCleanup(port.stopListening)
        target = f"http://127.0.0.1:{port.getHost().port}/v1/chat/completions"

        def answer(request: Request) -> bytes | None:
            if request.method != b"POST":
                return None
            request.setHeader("location", target)
            return said(request, 302, JSON, b'{"detail":"Found"}')

        run = await self.run_of(Deviating(answer), "unknown-model", "relay-plain")
        deltas = run.check("unknown-model")["deltas"]
        self.assertIn({"field": "status", "stub": "404", "seen": "302"}, deltas)
        self.assertEqual(elsewhere.asked, [])
        self.assertEqual(leaks(run.written()), [])

    async def test_no_answer(self) -> None:
        """A connection that closes without a response is reported by the type of its failure."""
        stub = stub_as_platform()
        for model in [each.name for each in stub.population.chat]:
            stub.script(model, (), then="close")
        run = await self.run_of(Deviating(lambda _: None, stub), "chat-plain-vllm", "auth-wrong")
        check = run.check("chat-plain-vllm")
        self.assertEqual(check["outcome"], "no answer")
        self.assertRegex(check["why"], "ResponseNeverReceived")
        self.assertEqual(run.status, 1)


class TelltaleTests(TestCase):
    """A platform that repeats the key and the account id wherever possible."""

    timeout = 60

    def telltale(self) -> Deviating:
        """Return such a platform."""
        said_of = dict.fromkeys(("detail", "message", "id", "object", "role", "account"), FAKE)
        told = said_of | {PARTS[1]: {FAKE: PARTS[2]}, "user": [PARTS[1], FAKE[::-1]]}

        def answer(request: Request) -> bytes | None:
            if request.method != b"POST":
                request.responseHeaders.addRawHeader(b"x-your-account", PARTS[1].encode())
                return None
            for name in ("x-your-key", "server", "via", "x-" + PARTS[2].lower(), "set-cookie"):
                request.responseHeaders.addRawHeader(name.encode(), FAKE.encode())
            model = str(model_of(request))
            if "no-such" in model or model == "default":
                return said(request, 404, JSON, json.dumps(told).encode())
            if model_of(request) is None:
                return said(request, 500, f"text/{PARTS[1]}", f"no {FAKE} for you".encode())
            events = (
                f"data: {json.dumps(told)}\n\nevent: {FAKE}\ndata: {json.dumps(told)}\n\n{FAKE}"
            )
            return said(request, 200, "text/event-stream", events.encode())

        return Deviating(answer)

    async def test_nothing_gets_out(self) -> None:
        """No file and no printed line contains a part of them, and yet the checks are reported."""
        run = InProcess(self.mktemp(), self.telltale())
        await run.play(*_SOME, "not-json", "messages", "relay-alias", "evidence")
        self.assertEqual(leaks(run.written()), [])
        self.assertEqual(leaks("\n".join(run.lines).encode()), [])
        self.assertTrue((run.logs / "unknown-model.json").exists())
        told = json.loads((run.logs / "unknown-model.json").read_text())["seen"]["headers"]
        self.assertRegex(told["x-your-key"], r"^<redacted text, \d+ characters>$")
        self.assertEqual(run.status, 0, run.lines)

    async def test_without_redaction(self) -> None:
        """Without redaction, the gate writes no file with a secret."""
        self.patch(Redactor, "text", lambda _self, text: text)
        self.patch(Redactor, "name", lambda _self, name: name)
        self.patch(Redactor, "header", lambda _self, _name, value: value)
        run = InProcess(self.mktemp(), self.telltale())
        await run.play("unknown-model", "chat-stream-sglang", "catalog", "not-json", "relay-plain")
        self.assertEqual(run.status, 3)
        self.assertEqual(leaks(run.written()), [])
        self.assertEqual(leaks("\n".join(run.lines).encode()), [])
        for name in ("unknown-model", "chat-stream-sglang", "not-json", "relay-plain"):
            self.assertEqual(run.check(name)["outcome"], "withheld", name)
            self.assertFalse((run.logs / f"{name}.json").exists())
            pattern = rf"{name}\.json: .+ would have been written; nothing was"
            self.assertTrue(any(re.fullmatch(pattern, each) for each in run.lines), run.lines)
