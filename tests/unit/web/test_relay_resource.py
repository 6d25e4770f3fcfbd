"""Tests of the relay through the tree, on the router's channel and on Twisted's."""

from __future__ import annotations

import json
from typing import Any
from unittest.mock import patch

from twisted.web.resource import IResource, Resource
from twisted.web.server import Site

from autopilot.http.dialect import Dialect
from autopilot.relay.downstream import CommittedHead
from autopilot.relay.proxy import Proxy
from tests.unit.relay.upstreams import DONE, SSE, STOP, TOKEN, chunk, head, whole
from tests.unit.web.browsers import CHAT, SiteTestCase, ask, request
from tests.unit.web.responses import UUID, Response

RESPONSES = b"/v1/responses"


class RequestTestsMixin(SiteTestCase):
    """Requests, which every channel must serve equally."""

    def answers(self, wire: bytes) -> Response:
        """Send one request, and answer it upstream."""
        browser = self.post(ask("a"))
        self.wire.says(wire)
        return browser.response

    # -- keys

    def test_missing_key(self) -> None:
        """Without a key a request gets a 401 before it is parsed, and with one it is relayed."""
        tree = self.tree()
        tree.require_key({Dialect.COMPLETIONS, Dialect.MESSAGES})
        self.site = self.make_site(tree)
        for path, fields in ((CHAT, (b"X-Api-Key: x",)), (b"/v1/messages", ())):
            got = self.post(b"{", *fields, path=path).response
            self.assertEqual((got.status, got.json["error"]["code"]), (401, "missing_key"))
            self.assertEqual(got.value(b"www-authenticate"), b"Bearer")
            self.assertEqual("type" in got.json, path == b"/v1/messages")
        self.assertEqual(self.post(b"{", b"Authorization: Bearer x").response.status, 400)
        self.assertEqual(self.post(b"{", path=b"/v1/responses").response.status, 400)

    def test_refusals(self) -> None:
        """What is refused at its head is reported once, with its path and the response's id."""
        tree = self.tree()
        tree.require_key({Dialect.MESSAGES})
        self.site = self.make_site(tree)
        chat, messages = CHAT.decode(), "/v1/messages"
        via = b"Via: 1.1 " + self.proxy.pseudonym
        for path, fields, method, refused, code in (
            (CHAT, (b"Content-Encoding: gzip",), b"POST", chat, "unsupported_content_encoding"),
            (CHAT, (via,), b"POST", chat, "loop_detected"),
            (CHAT, (), b"GET", chat, "method_not_allowed"),
            (messages.encode(), (), b"POST", messages, "missing_key"),
            (b"/chat/completions", (), b"POST", "", "not_found"),
            (b"//v1/chat/completions", (), b"POST", "", "not_found"),
        ):
            self.refused_ids.clear()
            browser = self.browser()
            body = b"" if method == b"GET" else b"{}"
            browser.sends(request(path, *fields, method=method, body=body))
            identity = (browser.response.value(b"x-request-id") or b"").decode()
            self.assertEqual(self.refused_ids, [(refused, code, identity)])
        self.refused_ids.clear()
        for path in (b"/favicon.ico", b"/v1/models/nope"):
            self.assertEqual(self.get(path).status, 404)
        self.assertEqual(self.post(b"{").response.status, 400)  # which the proxy records
        self.assertEqual(self.refused_ids, [])

    # -- the relay

    def test_stream(self) -> None:
        """A stream arrives chunk by chunk, on a connection that stays open."""
        browser = self.post(ask())
        self.wire.says(head(200, SSE), chunk(TOKEN))
        self.assertEqual(browser.got[0].body, TOKEN)
        self.wire.says(chunk(STOP + DONE), chunk(b""))
        got = browser.response
        self.assertEqual((got.status, got.body, got.whole), (200, TOKEN + STOP + DONE, True))
        self.assertEqual(got.value(b"transfer-encoding"), b"chunked")
        self.assertEqual(got.value(b"x-chutes-autopilot-selected"), b"a")
        self.assertEqual(got.values(b"connection"), [])
        self.assertFalse(browser.closed)

    def test_length_is_kept(self) -> None:
        """A plain response keeps its length, and is not chunked."""
        got = self.answers(whole(200, b'{"a":1}'))
        self.assertEqual((got.value(b"content-length"), got.body), (b"7", b'{"a":1}'))
        self.assertEqual(got.values(b"transfer-encoding"), [])

    def test_chunked_plain_answer(self) -> None:
        """A plain response without a length is chunked."""
        got = self.answers(head(200, b"text/x") + chunk(b"abc") + chunk(b""))
        self.assertEqual((got.value(b"transfer-encoding"), got.body), (b"chunked", b"abc"))

    def test_response_fields(self) -> None:
        """The upstream's fields keep order, duplicates and case; none is added (contract §7)."""
        sent = (b"X-b: 2", b"x-A: 1", b"X-b: 1", b"SeRvEr: up", b"Set-Cookie: a=b", b"DATE: now")
        wire = b"HTTP/1.1 200 Fine\r\n" + b"\r\n".join(sent) + b"\r\nContent-Length: 2\r\n\r\nhi"
        got = self.answers(wire)
        lines = [name + b": " + value for name, value in got.fields]
        self.assertEqual([line for line in lines if line in sent], list(sent))
        added = {name.lower() for name, _ in got.fields} - {b"x-b", b"x-a"}
        expected = {b"server", b"set-cookie", b"date", b"content-length", b"x-request-id"}
        self.assertEqual(added, expected)

    def test_no_content(self) -> None:
        """A response without a body has no framing."""
        got = self.answers(b"HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n")
        self.assertEqual((got.status, got.body), (204, b""))
        self.assertEqual(got.values(b"content-length") + got.values(b"transfer-encoding"), [])

    def test_http_1_0(self) -> None:
        """An HTTP/1.0 client gets an unchunked body and a close."""
        for fields in ((), (b"Connection: keep-alive",)):
            browser = self.browser()
            browser.sends(request(CHAT, *fields, version=b"1.0", body=ask("a")))
            self.wire.says(head(200, SSE), chunk(TOKEN + STOP + DONE), chunk(b""))
            got = browser.response
            self.assertEqual(got.values(b"transfer-encoding"), [])
            self.assertEqual(got.body, TOKEN + STOP + DONE)
            self.assertTrue(browser.closed)

    def test_cut_without_framing(self) -> None:
        """A broken response delimited by the close is reset (contract §7)."""
        for kind, event in ((b"text/x", False), (SSE, True)):
            browser = self.browser()
            browser.sends(request(version=b"1.0", body=ask("a")))
            self.wire.says(head(200, kind), chunk(TOKEN))
            self.wire.resets()
            self.assertTrue(browser.closed)
            self.assertEqual(browser.peer.aborted, not event)
            self.assertEqual(b"upstream_stream_interrupted" in browser.wire, event)

    def test_client_wants_to_close(self) -> None:
        """`Connection: close` is honoured, but not announced on a stream (contract §7)."""
        for wire, announced in (
            (whole(200, b"{}"), [b"close"]),
            (head(200, SSE) + chunk(TOKEN + DONE) + chunk(b""), []),
        ):
            browser = self.post(ask("a"), b"Connection: close")
            self.wire.says(wire)
            self.assertEqual(browser.response.values(b"connection"), announced)
            self.assertTrue(browser.response.whole)
            self.assertTrue(browser.closed)

    def test_cut(self) -> None:
        """A broken response has no last chunk, and the connection closes."""
        browser = self.post(ask())
        self.wire.says(head(200, SSE), chunk(TOKEN))
        self.wire.resets()
        got = browser.response
        self.assertFalse(got.whole)
        self.assertIn(b'"code":"upstream_stream_interrupted"', got.body.split(b"\n\n")[-2])
        self.assertTrue(browser.closed)
        self.assertFalse(browser.peer.aborted)

    def test_cut_speaks_the_dialect(self) -> None:
        """On the messages endpoint the last event is Anthropic's."""
        browser = self.browser()
        browser.sends(request(b"/v1/messages", body=ask("a")))
        event = b'event: content_block_delta\ndata: {"type":"content_block_delta"}\n\n'
        self.wire.says(head(200, SSE), chunk(event))
        self.wire.resets()
        last = browser.response.body.removeprefix(event)
        name, data = last.rstrip(b"\n").split(b"\n")
        self.assertEqual(name, b"event: error")
        self.assertEqual(json.loads(data.removeprefix(b"data: "))["type"], "error")

    def test_client_leaves(self) -> None:
        """A disconnect before or during the response aborts the upstream at once."""
        for said in ((), (head(200, SSE), chunk(TOKEN))):
            browser = self.post(ask())
            self.wire.says(*said)
            browser.leaves()
            self.assertTrue(self.wire.aborted)
            self.assertEqual(self.proxy.active, 0)
        self.assertEqual([each.outcome for each in self.records], ["client_gone"] * 2)

    def test_client_stalls(self) -> None:
        """A slow client pauses the upstream; one that stalls is disconnected."""
        browser = self.post(ask())
        self.wire.says(head(200, SSE), chunk(TOKEN))
        producer: Any = browser.peer.producer
        producer.pauseProducing()
        self.assertEqual(self.wire.producerState, "paused")
        producer.resumeProducing()
        self.assertEqual(self.wire.producerState, "producing")
        producer.pauseProducing()
        self.clock.advance(121)
        self.assertTrue(browser.peer.aborted)
        self.assertEqual(self.records[0].outcome, "client_stalled")

    def test_keep_alive(self) -> None:
        """One connection serves relayed requests, errors and pages."""
        browser = self.browser()
        for _ in range(3):
            browser.sends(request(body=ask("a")))
            self.wire.says(whole(200, b"{}"))
            browser.sends(request(body=b"no"))
            browser.sends(request(b"/healthz", method=b"GET"))
        self.assertEqual([each.status for each in browser.got], [200, 400, 200] * 3)
        self.assertFalse(browser.closed)

    def test_target_upstream(self) -> None:
        """Path and query go upstream unchanged; the client cannot choose the destination."""
        browser = self.browser()
        browser.sends(request(CHAT + b"?a=%20b&c", body=ask("a")))
        self.assertTrue(self.wire.value().startswith(b"POST /base/v1/chat/completions?a=%20b&c "))
        self.assertIn(b"\r\nHost: llm.test\r\n", self.wire.value())

    def test_each_endpoint(self) -> None:
        """Each endpoint has its own upstream, and keeps its path."""
        paths = (CHAT, b"/v1/completions", b"/v1/messages", b"/v1/responses")
        for path in paths:
            self.browser().sends(request(path, body=ask("a")))
            self.assertIn(
                b"POST %b%b HTTP/1.1" % (b"/base" if b"completions" in path else b"", path),
                self.wire.value(),
            )
        hosts = [origin.host for origin in self.upstreams.origins]
        self.assertEqual(hosts, ["llm.test", "llm.test", "claude.test", "responses.test"])

    def test_prefix(self) -> None:
        """Mounted under a prefix, the tree relays to the same paths and serves the same pages."""
        root = Resource()
        root.putChild(b"llm", self.tree())
        self.site = self.make_site(root)
        browser = self.browser()
        browser.sends(request(b"/llm" + CHAT, body=ask("a")))
        self.assertTrue(self.wire.value().startswith(b"POST /base/v1/chat/completions HTTP/1.1"))
        self.wire.says(whole(200, b"{}"))
        self.assertEqual(browser.response.status, 200)
        self.assertEqual(self.get(b"/llm/v1/models/plain").body, b'{"id":"plain"}')
        for path in (b"/llm", b"/llm/", b"/llm/nothing"):
            got = self.get(path)
            self.assertEqual(got.error, (404, "invalid_request_error", "not_found"))
            self.assertRegex(got.identity, UUID)

    # -- WebSocket

    def test_websocket(self) -> None:
        """A WebSocket for OpenAI's responses gets a 426 that names HTTP/1.1; the rest goes on."""
        upgrade = b"Connection: keep-alive, Upgrade", b"Upgrade: h2c, WebSocket"
        browser = self.browser()
        browser.sends(request(RESPONSES, *upgrade, b"Sec-WebSocket-Key: x", method=b"GET"))
        browser.sends(request(b"/healthz", method=b"GET"))
        first, second = browser.got
        self.assertEqual(first.error, (426, "invalid_request_error", "upgrade_required"))
        self.assertTrue(browser.wire.startswith(b"HTTP/1.1 426 Upgrade Required\r\n"))
        self.assertEqual(first.value(b"upgrade"), b"HTTP/1.1")
        self.assertEqual(first.value(b"connection"), b"Upgrade")
        self.assertEqual(second.status, 200)

    def test_websocket_and_close(self) -> None:
        """The connection still closes after the response if the client wants it to."""
        browser = self.browser()
        upgrade = b"Connection: Upgrade, close", b"Upgrade: websocket"
        browser.sends(request(RESPONSES, *upgrade, method=b"GET"))
        got = browser.response
        self.assertEqual((got.status, browser.closed), (426, True))
        self.assertIn(b"upgrade", (got.value(b"connection") or b"").lower())

    def test_no_websocket(self) -> None:
        """Elsewhere, by another method, protocol or version, the field is ignored."""
        upgrade = b"Connection: Upgrade", b"Upgrade: websocket"
        for path, method, fields, version in (
            (RESPONSES, b"GET", (), b"1.1"),
            (RESPONSES, b"GET", (b"Connection: Upgrade", b"Upgrade: h2c"), b"1.1"),
            (RESPONSES, b"GET", upgrade, b"1.0"),
            (RESPONSES, b"DELETE", upgrade, b"1.1"),
            (CHAT, b"GET", upgrade, b"1.1"),
        ):
            browser = self.browser()
            browser.sends(request(path, *fields, method=method, version=version))
            got = browser.response
            self.assertEqual((got.status, got.value(b"upgrade")), (405, None))
            self.assertEqual(got.value(b"allow"), b"POST")

    # -- errors

    def test_error_shape(self) -> None:
        """The router's errors have OpenAI's format, a type by status, and an id."""
        for body, expected in (
            (b"{", (400, "invalid_request_error", "invalid_json")),
            (b"[]", (400, "invalid_request_error", "invalid_body")),
            (b"{}", (400, "invalid_request_error", "missing_model")),
            (ask(7), (400, "invalid_request_error", "invalid_model")),
            (ask(",,"), (400, "invalid_request_error", "invalid_model_list")),
            (ask("nobody"), (400, "invalid_request_error", "unknown_model")),
        ):
            got = self.post(body).response
            self.assertEqual(got.error, expected)
            self.assertRegex(got.identity, UUID)
            self.assertEqual(got.values(b"server"), [])
            self.assertEqual(got.values(b"retry-after"), [])

    def test_anthropic_shape(self) -> None:
        """The messages endpoint has Anthropic's error format."""
        browser = self.browser()
        browser.sends(request(b"/v1/messages", body=b"{}"))
        got = browser.response.json
        self.assertEqual((got["type"], got["error"]["type"]), ("error", "invalid_request_error"))
        self.assertEqual(got["error"]["code"], "missing_model")
        self.proxy.draining = True
        browser.sends(request(b"/v1/messages", body=ask()))
        self.assertEqual(browser.got[1].json["error"]["type"], "overloaded_error")

    def test_try_again(self) -> None:
        """The router's own 503 has Retry-After and x-should-retry."""
        self.proxy.draining = True
        got = self.post(ask()).response
        self.assertEqual(got.error, (503, "server_error", "draining"))
        self.assertEqual(got.value(b"retry-after"), b"1")
        self.assertEqual(got.value(b"x-should-retry"), b"true")

    def test_overloaded(self) -> None:
        """A request over the limit of requests in flight gets a 503."""
        self.build(max_active=1)
        self.site = self.make_site(self.tree())
        first = self.post(ask("a"))
        got = self.post(ask("a")).response
        self.assertEqual(got.error, (503, "server_error", "overloaded"))
        self.assertEqual(got.value(b"x-should-retry"), b"true")
        self.wire.says(whole(200, b"{}"))
        self.assertEqual(first.response.status, 200)
        self.post(ask("a"))
        self.assertEqual(self.proxy.active, 1)

    def test_gave_up(self) -> None:
        """An unreachable upstream is a 502."""
        self.upstreams.refusing = True
        got = self.post(ask("a")).response
        self.assertEqual(got.error, (502, "server_error", "upstream_connect_error"))

    def test_compressed_body(self) -> None:
        """A compressed request body is rejected."""
        got = self.post(b"x", b"Content-Encoding: gzip").response
        self.assertEqual(got.error[0], 415)

    def test_mistake(self) -> None:
        """A bug in the data plane is logged, and gets a 500 in the usual format."""
        with patch.object(Proxy, "accept", side_effect=ZeroDivisionError("secret")):
            got = self.post(ask()).response
        self.assertEqual(got.error, (500, "server_error", "internal_error"))
        self.assertNotIn(b"secret", got.body)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_late_mistake(self) -> None:
        """A bug after the head cuts the response."""

        def accept(_proxy: Proxy, _inbound: object, downstream: Any) -> None:
            downstream.commit(CommittedHead(200, b"", [(b"Content-Length", b"8")], True), b"half")
            raise ZeroDivisionError

        with patch.object(Proxy, "accept", accept):
            browser = self.post(ask())
        self.assertFalse(browser.response.whole)
        self.assertTrue(browser.peer.aborted)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_methods(self) -> None:
        """Another method gets a 405 with Allow, in the endpoint's format."""
        for path in (CHAT, b"/v1/completions", b"/v1/responses"):
            got = self.get(path)
            self.assertEqual(got.error, (405, "invalid_request_error", "method_not_allowed"))
            self.assertEqual(got.value(b"allow"), b"POST")
        self.assertEqual(self.get(b"/v1/messages").json["type"], "error")
        got = self.get(CHAT, method=b"HEAD")
        self.assertEqual((got.status, got.body), (405, b""))
        for path in (b"/healthz", b"/readyz", b"/v1/models", b"/v1/models/x", b"/metrics"):
            got = self.get(path, method=b"POST")
            self.assertEqual(got.error, (405, "invalid_request_error", "method_not_allowed"))
            self.assertEqual(got.value(b"allow"), b"GET, HEAD")

    def test_nothing_there(self) -> None:
        """Any other path is a 404 in OpenAI's format, without a redirect or an echo."""
        for path in (
            b"/",
            b"/v1",
            b"/v1/",
            b"//v1/models",
            b"/v1//models",
            b"/v1/models/",
            b"/healthz/",
            b"/v1/chat/completions/",
            b"/v1/../v1/models",
            b"/%ff",
            b"/%00",
            b"/<script>",
            b"/v1/models/nobody",
            b"/status.txt",
        ):
            got = self.get(path)
            self.assertEqual(got.status, 404, path)
            status, kind, code = got.error
            self.assertEqual((status, kind), (404, "invalid_request_error"), path)
            self.assertIn(code, ("not_found", "unknown_model"))
            self.assertNotIn(b"script", got.body)
            self.assertEqual(got.values(b"server") + got.values(b"location"), [])
            self.assertRegex(got.identity, UUID)

    # -- how requests arrive

    def test_split_anywhere(self) -> None:
        """Requests may arrive in any pieces, and may be chunked."""
        chunked = request(
            CHAT,
            b"Transfer-Encoding: chunked",
            body=chunk(ask()[:9]) + chunk(ask()[9:]) + chunk(b""),
        )
        for wire in (request(body=ask()), chunked):
            for piece in (0, 1, 7):
                browser = self.browser()
                browser.sends(wire, piece)
                self.assertEqual(self.wire.models, ["a"])
                browser.leaves()

    def test_pipelining(self) -> None:
        """Pipelined requests are answered in order, one at a time."""
        for piece in (0, 1, 50):
            browser = self.browser()
            wire = request(body=ask("a")) + request(b"/healthz", method=b"GET")
            browser.sends(wire + request(body=ask("b")) + request(body=b"{}"), piece)
            self.assertEqual(self.wire.models, ["a"])
            self.assertEqual(browser.wire, b"")
            self.wire.says(whole(200, b'"A"'))
            self.assertEqual([each.body for each in browser.got], [b'"A"', b"ok\n"])
            self.assertEqual(self.wire.models, ["a", "b"])
            self.wire.says(whole(200, b'"B"'))
            self.assertEqual([each.status for each in browser.got], [200, 200, 200, 400])
            self.wire.closes()

    def test_pipelining_far_ahead(self) -> None:
        """Reading pauses while a client is far ahead with pipelined requests."""
        browser = self.browser()
        browser.sends(request(body=ask("a")))
        page = request(b"/healthz", method=b"GET")
        browser.sends(page * (20_000 // len(page)))
        self.assertEqual(browser.peer.producerState, "paused")
        self.wire.says(whole(200, b"{}"))
        browser.turn()
        self.assertEqual(browser.peer.producerState, "producing")
        self.assertEqual(len(browser.got), 1 + 20_000 // len(page))
        browser.sends(page)
        self.assertEqual(len(browser.got), 2 + 20_000 // len(page))

    def test_continue(self) -> None:
        """A client with Expect gets 100 Continue, and sends its body."""
        browser = self.browser()
        fields = b"Expect: 100-Continue", b"Content-Length: %d" % len(ask())
        browser.sends(request(CHAT, *fields))
        self.assertEqual(browser.wire, b"HTTP/1.1 100 Continue\r\n\r\n")
        browser.sends(ask())
        self.wire.says(whole(200, b"{}"))
        self.assertEqual([each.status for each in browser.got], [100, 200])


class OwnChannelTests(RequestTestsMixin):
    """On the router's own channel."""


class TwistedChannelTests(RequestTestsMixin):
    """On Twisted's channel, as an embedding application has it."""

    def make_site(self, resource: IResource) -> Site:
        """See `SiteTestCase`."""
        return Site(resource, reactor=self.clock)


del RequestTestsMixin
