"""Tests of pipelined requests: one for each turn of the reactor, none ahead of the client."""

from __future__ import annotations

from typing import Any
from unittest.mock import patch

from autopilot.http.request_parser import RequestParser
from autopilot.web import channel as channel_module
from autopilot.web.turn_queue import MAX_IN_A_TURN
from tests.unit.relay.upstreams import chunk, whole
from tests.unit.web.browsers import CHAT, Browser, SiteTestCase, ask, request
from tests.unit.web.responses import responses

PAGE = request(b"/healthz", method=b"GET")


def count(browser: Browser) -> int:
    """Return the number of responses that have been written."""
    return len(responses(browser.wire))


class PipelineTests(SiteTestCase):
    """Many requests in one read."""

    def send(self, browser: Browser, data: bytes) -> None:
        """Deliver one read, without a turn of the reactor."""
        browser.protocol.dataReceived(data)

    def step(self) -> None:
        """Make one turn of the reactor; `Clock.advance` also runs what is scheduled meanwhile."""
        for call in [each for each in self.clock.calls if each.getTime() <= self.clock.seconds()]:
            self.clock.calls.remove(call)
            call.called = 1
            call.func(*call.args, **call.kw)

    def test_one_a_turn(self) -> None:
        """Each turn of the reactor handles one request, whatever arrives between two turns."""
        browser = self.browser()
        self.send(browser, PAGE * 3)
        for number in (1, 2, 3, 4, 5):
            self.assertEqual(count(browser), number)
            if number == 2:
                self.send(browser, PAGE * 2)
            self.step()
        self.assertEqual(count(browser), 5)

    def test_many_connections(self) -> None:
        """A turn of the reactor handles a few requests, however many connections pipeline them."""
        browsers = [self.browser() for _ in range(3 * MAX_IN_A_TURN)]
        for browser in browsers:
            self.send(browser, PAGE * 3)
        handled = len(browsers)
        while handled < 3 * len(browsers):
            self.step()
            before, handled = handled, sum(map(count, browsers))
            self.assertEqual(handled - before, MAX_IN_A_TURN)
        self.assertEqual({count(browser) for browser in browsers}, {3})

    def test_a_relayed_request_takes_its_turn(self) -> None:
        """The next request is planned when the one before has released its place."""
        self.build(max_active=1)
        self.site = self.make_site(self.tree())
        browser = self.browser()
        browser.sends(request(body=ask("a", stream=False)) * 2)
        for _ in range(2):
            self.wire.says(whole(200, b"{}"))
            browser.turn()
        self.assertEqual([each.status for each in browser.got], [200, 200])

    def test_pieces_of_one_request(self) -> None:
        """A head and a body larger than what the parser receives at once are one request."""
        for field, body in ((b"x" * 40_000, ask("a")), (b"x", ask("a", user="x" * 40_000))):
            browser = self.browser()
            self.send(browser, request(CHAT, b"A: " + field, body=body) + PAGE)
            self.wire.says(whole(200, b"{}"))
            self.assertEqual([each.status for each in browser.got], [200, 200])

    def test_unread(self) -> None:
        """While the client does not read, nothing further is handled, and nothing is lost."""
        browser = self.browser()
        channel: Any = browser.protocol
        channel.pauseProducing()
        self.send(browser, PAGE * 3)
        browser.turn()
        self.assertEqual(count(browser), 0)
        channel.resumeProducing()
        self.step()
        self.assertEqual(count(browser), 1)
        channel.pauseProducing()
        browser.turn()
        self.assertEqual(count(browser), 1)
        channel.resumeProducing()
        self.assertEqual(len(browser.got), 3)

    def test_never_read(self) -> None:
        """A client that never reads what it asked for is disconnected."""
        browser = self.browser()
        channel: Any = browser.protocol
        self.send(browser, PAGE * 3)
        channel.pauseProducing()
        self.clock.advance(self.limits.idle_timeout + 0.1)
        self.assertTrue(browser.closed)
        self.clock.advance(self.limits.flush_timeout + 0.1)
        self.assertTrue(browser.peer.aborted)

    def test_thousands(self) -> None:
        """Thousands of requests in one read leave most of its bytes unparsed at first."""
        browser = self.browser()
        self.send(browser, PAGE * 2000)
        self.assertLess(self.parsed(browser), 40)
        self.assertEqual(len(browser.got), 2000)

    def parsed(self, browser: Browser) -> int:
        """Return the number of requests that have been parsed and not been handled."""
        channel: Any = browser.protocol
        return len(channel._parser.arrived)

    def test_thousands_behind_a_part(self) -> None:
        """So do thousands behind the rest of a request, whose body may be in chunks."""
        body = ask("a", stream=False)
        for begun, rest in (
            (b"", request(body=body)),
            (request(body=body)[:10], request(body=body)[10:]),
            (request(body=body)[:-1], body[-1:]),
            (request(CHAT, b"Transfer-Encoding: chunked"), chunk(body) + chunk(b"")),
            (request(b"/healthz", b"Content-Length: 1", method=b"GET"), b"x"),
        ):
            browser = self.browser()
            if begun:
                self.send(browser, begun)
            self.send(browser, rest + PAGE * 1000)
            self.assertLess(self.parsed(browser), 40, begun)
            if CHAT in begun + rest:
                self.wire.says(whole(200, b"{}"))
            got = browser.got
            self.assertEqual((len(got), {each.status for each in got}), (1001, {200}), begun)

    def test_lines_of_a_body(self) -> None:
        """Each read of a body of known length is parsed at once, although it consists of lines."""
        lines = ask("a", stream=False).replace(b",", b"," + b"\n" * 30_000)
        browser = self.browser()
        feed = RequestParser.feed
        with patch.object(RequestParser, "feed", autospec=True, side_effect=feed) as fed:
            self.send(browser, request(CHAT, b"Content-Length: %d" % len(lines)))
            for start in range(0, len(lines), 10_000):
                self.send(browser, lines[start : start + 10_000])
        self.assertEqual(fed.call_count, 1 + -(-len(lines) // 10_000))
        self.wire.says(whole(200, b"{}"))
        self.assertEqual(browser.response.status, 200)

    def test_a_thousand_upgrades(self) -> None:
        """Requests with an Upgrade field are answered in HTTP/1.1, however many arrive at once."""
        upgrade = request(b"/healthz", b"Upgrade: websocket", b"Connection: Upgrade", method=b"GET")
        browser = self.browser()
        self.send(browser, upgrade * 1000)
        self.assertEqual({each.status for each in browser.got}, {200})
        self.assertEqual(len(browser.got), 1000)

    def test_garbage_behind(self) -> None:
        """What is no request behind a pipeline is rejected after its responses."""
        browser = self.browser()
        self.send(browser, PAGE * 2 + b"garbage\r\n\r\n")
        self.assertEqual([each.status for each in browser.got][:2], [200, 200])
        self.assertGreaterEqual(browser.got[2].status, 400)
        self.assertTrue(browser.closed)

    def test_client_leaves_between_turns(self) -> None:
        """A client that leaves before its next turn leaves no call behind."""
        browser = self.browser()
        self.send(browser, PAGE * 3)
        browser.leaves()
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_closed_between_turns(self) -> None:
        """Once the connection is being closed, no further request costs an upstream call."""
        browser = self.browser()
        self.send(browser, PAGE + request(body=ask("a", stream=False)))
        channel: Any = browser.protocol
        channel.loseConnection()
        browser.turn()
        self.assertEqual((count(browser), len(self.upstreams.wires)), (1, 0))

    def test_last_of_a_pipeline(self) -> None:
        """Requests behind a request for the end of the connection are not handled."""
        browser = self.browser()
        last = request(b"/healthz", b"Connection: close", method=b"GET")
        self.send(browser, PAGE + last + PAGE)
        self.assertEqual(len(browser.got), 2)
        self.assertTrue(browser.closed)


class HangUpTests(SiteTestCase):
    """A client that leaves while what it pipelined is not read."""

    def test_noticed(self) -> None:
        """Its upstream call ends within a second, and no call of the reactor is left."""
        left = False
        self.patch(channel_module, "has_hung_up", lambda transport: left)
        browser = self.post(ask("a"))
        browser.sends(PAGE * 1000)
        self.assertEqual(browser.peer.producerState, "paused")
        self.clock.advance(5.0)
        self.assertFalse(browser.peer.aborted)
        left = True
        self.clock.advance(1.0)
        self.assertTrue(browser.peer.aborted)
        browser.leaves()
        self.assertEqual([record.outcome for record in self.records], ["client_gone"])
        self.clock.advance(0)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_not_while_reading(self) -> None:
        """Once the channel reads again, the transport notices by itself."""
        looks: list[object] = []

        def look(transport: object) -> bool:
            looks.append(transport)
            return False

        self.patch(channel_module, "has_hung_up", look)
        browser = self.post(ask("a", stream=False))
        browser.sends(PAGE * 1000)
        self.wire.says(whole(200, b"{}"))
        self.assertEqual(len(browser.got), 1001)
        self.clock.advance(2.0)
        looks.clear()
        self.clock.advance(5.0)
        self.assertEqual(looks, [])
