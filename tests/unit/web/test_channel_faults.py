"""Tests of the channel's boundary: a fault around one request costs that request alone."""

from __future__ import annotations

from typing import cast
from unittest.mock import patch

from twisted.internet.interfaces import IPushProducer

from autopilot.relay.exchange import Exchange
from autopilot.state.tables import StateTables
from autopilot.web.channel import Channel
from autopilot.web.channel_response import ChannelResponse
from autopilot.web.site import AutopilotSite
from tests.unit.relay.upstreams import DONE, STOP, TOKEN, chunk, head, whole
from tests.unit.web.browsers import Browser, SiteTestCase, ask, request

FAULT = ZeroDivisionError("the request's own words")


def channel(browser: Browser) -> Channel:
    """Return the router's end of a connection."""
    return cast(Channel, browser.protocol)


class ChannelFaultTests(SiteTestCase):
    """What raises around a request, and what its client and the others make of it."""

    def logged(self) -> int:
        """Return how many faults were logged since the last call."""
        return len(self.flushLoggedErrors(ZeroDivisionError))

    def test_exchange_is_not_made(self) -> None:
        """An exchange that cannot be made is a 500 with a record."""
        with patch.object(ChannelResponse, "timer", side_effect=FAULT):
            browser = self.post(ask("a"))
        self.assertEqual((browser.response.status, browser.closed), (500, False))
        self.assertEqual([record.outcome for record in self.records], ["failed"])
        self.assertEqual(self.logged(), 1)

    def test_exchanges_are_not_made(self) -> None:
        """The log of such faults is limited."""
        with patch.object(Exchange, "__init__", side_effect=FAULT):
            for _ in range(3):
                self.assertEqual(self.post(ask("a")).response.status, 500)
        self.assertEqual((len(self.records), self.logged()), (3, 1))

    def test_response_is_not_made(self) -> None:
        """A response that cannot be made is a 500, and the connection is closed."""
        with patch.object(ChannelResponse, "__init__", side_effect=FAULT):
            for _ in range(3):
                browser = self.post(ask("a"))
                self.assertEqual((browser.response.status, browser.closed), (500, True))
        self.assertEqual((self.refused, self.logged()), ([500] * 3, 1))

    def test_error_is_not_written(self) -> None:
        """If not even the error can be written, the client is cut off."""
        with patch.object(ChannelResponse, "refuse", side_effect=FAULT):
            browser = self.post(b"no JSON")
        self.assertTrue(browser.peer.aborted)
        self.assertEqual([record.outcome for record in self.records], ["failed"])
        self.assertEqual(self.logged(), 1)

    def test_fault_in_the_next_request(self) -> None:
        """A fault in a pipelined request does not spoil the response before."""
        browser = self.browser()
        browser.sends(request(body=ask("a", stream=False)) * 2)
        with patch.object(Channel, "_relay", side_effect=FAULT):
            self.wire.says(whole(200, b"{}"))
            browser.turn()
        self.assertEqual([each.status for each in browser.got], [200, 500])
        self.assertEqual([record.outcome for record in self.records], ["completed"])
        self.assertEqual(self.logged(), 1)

    def test_fault_behind_a_response(self) -> None:
        """A fault after a response leaves the next request on the connection its deadlines."""
        browser = self.browser()
        browser.sends(request(body=ask("a")))
        with patch.object(StateTables, "ended", side_effect=FAULT):
            self.wire.says(head(), chunk(TOKEN), chunk(STOP + DONE), chunk(b""))
        self.assertEqual((browser.response.status, browser.closed), (200, False))
        self.assertEqual([record.outcome for record in self.records], ["failed"])
        self.assertEqual(self.logged(), 1)
        self.clock.advance(self.limits.idle_timeout)
        self.assertTrue(browser.closed)

    def test_fault_of_a_counter(self) -> None:
        """A connection whose rejection cannot be counted is closed all the same."""
        browser = self.browser()
        browser.sends(b"POST / HTTP/1.1\r\n")
        with patch.object(self.site, "refused", side_effect=FAULT):
            self.clock.advance(self.limits.head_timeout)
        self.assertEqual(browser.response.status, 408)
        self.assertTrue(browser.closed)
        self.assertEqual(self.logged(), 1)

    def test_fault_of_a_site(self) -> None:
        """An exchange ends with its client, whatever the site makes of that."""
        browser = self.post(ask("a"))
        with patch.object(AutopilotSite, "closed", side_effect=FAULT):
            self.assertRaises(ZeroDivisionError, browser.leaves)
        self.assertEqual([record.outcome for record in self.records], ["client_gone"])


class BackpressureTests(SiteTestCase):
    """A client that takes nothing, from before a stream begins."""

    def test_stream_begins_paused(self) -> None:
        """A transport that was full before the stream began holds the stream back, too."""
        browser = self.post(ask("a"))
        producer = cast(IPushProducer, channel(browser))
        producer.pauseProducing()
        self.wire.says(head(), chunk(TOKEN))
        self.assertEqual(self.wire.producerState, "paused")
        producer.resumeProducing()
        self.assertEqual(self.wire.producerState, "producing")
        self.wire.says(chunk(STOP + DONE), chunk(b""))
        self.assertEqual(browser.response.body, TOKEN + STOP + DONE)

    def test_reading_resumes(self) -> None:
        """When such a client reads again, what it pipelined is answered, and more is read."""
        browser = self.post(ask("a", stream=False))
        producer = cast(IPushProducer, channel(browser))
        producer.pauseProducing()
        browser.sends(request(body=ask("nobody" * 5000)))
        self.assertEqual(browser.peer.producerState, "paused")
        self.wire.says(whole(200, b"{}"))
        producer.resumeProducing()
        self.assertEqual(browser.peer.producerState, "producing")
        self.assertEqual([each.status for each in browser.got], [200, 400])
