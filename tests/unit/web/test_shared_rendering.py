"""Tests of renderings that requests share, alone and behind the operators' pages."""

from __future__ import annotations

from collections.abc import Iterator

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.resource import IResource
from twisted.web.server import Site

from autopilot.web.shared_rendering import (
    FRESHNESS,
    SharedArrival,
    SharedRendering,
    SlicedRendering,
)
from tests.unit.web.browsers import Browser, SiteTestCase, request
from tests.unit.web.status.values import facts


class Turns(Clock):
    """A clock that, like a reactor, leaves the calls made in a turn for the next one."""

    def turn(self) -> None:
        """Run the calls that are due now."""
        due = [call for call in self.calls if call.getTime() <= self.seconds()]
        for call in due:
            self.calls.remove(call)
            call.called = 1
            call.func(*call.args, **call.kw)


class SharedRenderingTests(SynchronousTestCase):
    """Renderings made at once."""

    def setUp(self) -> None:
        """Render numbers."""
        self.clock = Clock()
        self.renders = 0
        self.page = SharedRendering(self.clock.seconds, self.render)

    def render(self) -> int:
        """Count the renderings."""
        self.renders += 1
        return self.renders

    def test_shared(self) -> None:
        """A rendering is shared for a second, and made again only when requested."""
        self.assertEqual([self.page(), self.page()], [1, 1])
        self.clock.advance(0.75 * FRESHNESS)
        self.assertEqual(self.page(), 1)
        self.clock.advance(0.25 * FRESHNESS)
        self.assertEqual([self.page(), self.page()], [2, 2])
        self.clock.advance(10.0)
        self.assertEqual(self.renders, 2)

    def test_expired(self) -> None:
        """A rendering that no longer holds is made again."""
        self.page()
        self.page.expire()
        self.assertEqual([self.page(), self.page()], [2, 2])

    def test_failure(self) -> None:
        """A failed rendering is not kept."""
        self.page = SharedRendering(self.clock.seconds, lambda: 1 // self.renders)
        self.assertRaises(ZeroDivisionError, self.page)
        self.renders = 1
        self.assertEqual(self.page(), 1)


class SlicedRenderingTests(SynchronousTestCase):
    """Renderings made in slices."""

    def setUp(self) -> None:
        """Render three slices."""
        self.clock = Turns()
        self.begun = self.steps = 0
        self.fault: Exception | None = None
        self.page = SlicedRendering(self.clock, self.slices)

    def slices(self) -> Iterator[bytes]:
        """Count renderings and their steps."""
        self.begun += 1
        for number in range(3):
            self.steps += 1
            yield b"%d.%d " % (self.begun, number)
        if self.fault is not None:
            raise self.fault

    def test_one_slice_a_turn(self) -> None:
        """Each turn of the reactor renders one slice."""
        page = self.page()
        for turn in (1, 2, 3):
            self.assertEqual(self.steps, turn)
            self.assertNoResult(page)
            self.clock.turn()
        self.assertEqual(self.successResultOf(page), (b"1.0 ", b"1.1 ", b"1.2 "))
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_shared(self) -> None:
        """Requests share the rendering in progress, and the latest for a second."""
        pages = [self.page(), self.page()]
        self.clock.turn()
        pages.append(self.page())
        self.clock.advance(0)
        pages.append(self.page())
        results = [self.successResultOf(page) for page in pages]
        self.assertEqual(self.begun, 1)
        self.assertTrue(all(each is results[0] for each in results))
        self.clock.advance(FRESHNESS)
        page = self.page()
        self.clock.advance(0)
        self.assertEqual(self.successResultOf(page), (b"2.0 ", b"2.1 ", b"2.2 "))

    def test_slow(self) -> None:
        """A rendering that takes longer than a second is shared until it is complete."""
        first = self.page()
        self.clock.rightNow += FRESHNESS
        self.clock.turn()
        second = self.page()
        self.clock.advance(0)
        self.assertIs(self.successResultOf(first), self.successResultOf(second))
        self.assertEqual(self.begun, 1)
        self.page()
        self.assertEqual(self.begun, 2)

    def test_left(self) -> None:
        """A client that leaves does not disturb the others; without any, rendering stops."""
        leaving, staying = self.page(), self.page()
        leaving.cancel()
        self.failureResultOf(leaving, CancelledError)
        self.clock.advance(0)
        self.successResultOf(staying)
        self.clock.advance(FRESHNESS)
        leaving = self.page()
        leaving.cancel()
        self.failureResultOf(leaving, CancelledError)
        self.clock.advance(0)
        self.assertEqual((self.steps, self.clock.getDelayedCalls()), (4, []))
        page = self.page()
        self.clock.advance(0)
        self.assertEqual(self.successResultOf(page), (b"3.0 ", b"3.1 ", b"3.2 "))

    def test_failure(self) -> None:
        """Every request gets the failure, and the next one a new rendering."""
        self.fault = ZeroDivisionError()
        pages = [self.page(), self.page()]
        self.clock.advance(0)
        for page in pages:
            self.failureResultOf(page, ZeroDivisionError)
        self.fault = None
        page = self.page()
        self.clock.advance(0)
        self.successResultOf(page)


class SharedArrivalTests(SynchronousTestCase):
    """What another process is asked for."""

    def setUp(self) -> None:
        """Ask for texts, which arrive when the test says so."""
        self.clock = Clock()
        self.asked: list[Deferred[str]] = []
        self.arrival = SharedArrival(self.clock.seconds, self.ask)

    def ask(self) -> Deferred[str]:
        """Begin to ask."""
        self.asked.append(Deferred())
        return self.asked[-1]

    def test_shared(self) -> None:
        """All who ask meanwhile get what arrives, as do those who ask within a second."""
        first, other = self.arrival(), self.arrival()
        self.assertNoResult(first)
        self.clock.advance(3.0)
        self.asked[0].callback("one")
        self.assertEqual(list(map(self.successResultOf, (first, other))), ["one", "one"])
        self.clock.advance(0.75 * FRESHNESS)
        self.assertEqual(self.successResultOf(self.arrival()), "one")
        self.clock.advance(0.25 * FRESHNESS)
        again = self.arrival()
        self.asked[1].callback("two")
        self.assertEqual(self.successResultOf(again), "two")
        self.assertEqual(len(self.asked), 2)

    def test_left(self) -> None:
        """Who leaves is not answered; what arrives then is for the next ones."""
        first, other = self.arrival(), self.arrival()
        for each in (first, other):
            each.cancel()
            self.failureResultOf(each, CancelledError)
        self.asked[0].callback("one")
        self.assertEqual(self.successResultOf(self.arrival()), "one")
        self.assertEqual(len(self.asked), 1)

    def test_failure(self) -> None:
        """All who wait learn of a failure, and the next one asks again."""
        waiting = self.arrival(), self.arrival()
        self.asked[0].errback(ZeroDivisionError())
        for each in waiting:
            self.failureResultOf(each, ZeroDivisionError)
        again = self.arrival()
        self.asked[1].callback("two")
        self.assertEqual(self.successResultOf(again), "two")


class OperatorPagesTestsMixin(SiteTestCase):
    """The number of renderings behind the pages, on either channel."""

    def setUp(self) -> None:
        """Count the reports."""
        super().setUp()
        self.looks = 0
        self.names: tuple[str, ...] = ("a",)

        def status() -> object:
            self.looks += 1
            return facts(*self.names)

        self.status = status  # type: ignore[assignment]

    def test_page(self) -> None:
        """All who request the page within a second, and its subscribers, share one rendering."""
        pages = [self.get(b"/status").body for _ in range(3)]
        subscriber = self.browser()
        subscriber.sends(request(b"/status/events", method=b"GET"))
        self.assertEqual((self.looks, len(set(pages))), (1, 1))
        self.clock.advance(FRESHNESS)
        self.assertEqual(self.looks, 2)
        self.get(b"/status")
        self.assertEqual(self.looks, 2)
        self.clock.advance(FRESHNESS / 2)
        self.get(b"/status")
        self.assertEqual(self.looks, 2)
        subscriber.leaves()
        self.clock.advance(FRESHNESS)
        self.assertEqual(self.looks, 2)
        self.get(b"/status")
        self.assertEqual(self.looks, 3)

    def test_pipeline(self) -> None:
        """A pipeline of requests for the page renders it once."""
        browser = self.browser()
        browser.sends(250 * request(b"/status", method=b"GET"))
        self.assertEqual((self.looks, len(browser.got)), (1, 250))

    def test_json(self) -> None:
        """The same of the report as JSON, which is complete after some turns of the reactor."""
        self.names = tuple(f"m{place:04}" for place in range(2000))
        browsers = [self.browser() for _ in range(3)]
        for browser in browsers:
            browser.protocol.dataReceived(request(b"/status.json", method=b"GET"))
        self.assertEqual([browser.wire for browser in browsers], [b""] * 3)
        self.clock.advance(0)
        names = [
            [each["name"] for each in browser.response.json["ranking"]] for browser in browsers
        ]
        self.assertEqual(names, [list(self.names)] * 3)
        self.assertEqual(self.looks, 1)
        self.assertEqual(self.get(b"/status.json").status, 200)
        self.assertEqual(self.looks, 1)
        self.clock.advance(FRESHNESS)
        self.assertEqual(self.get(b"/status.json").status, 200)
        self.assertEqual(self.looks, 2)

    def test_json_left(self) -> None:
        """A client that leaves while the report is rendered leaves nothing behind."""
        self.names = tuple(f"m{place:04}" for place in range(2000))
        browser: Browser = self.browser()
        browser.protocol.dataReceived(request(b"/status.json", method=b"GET"))
        browser.leaves()
        self.clock.advance(0)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_metrics(self) -> None:
        """The metrics are a second old at most."""
        self.metrics_text = b"metric 1\n"
        self.assertEqual(self.get(b"/metrics").body, b"metric 1\n")
        self.metrics_text = b"metric 2\n"
        self.assertEqual(self.get(b"/metrics").body, b"metric 1\n")
        self.clock.advance(FRESHNESS)
        self.assertEqual(self.get(b"/metrics").body, b"metric 2\n")


class OwnChannelTests(OperatorPagesTestsMixin):
    """On the router's own channel."""


class TwistedChannelTests(OperatorPagesTestsMixin):
    """On Twisted's channel, as an embedding application has it."""

    def make_site(self, resource: IResource) -> Site:
        """See `SiteTestCase`."""
        return Site(resource, reactor=self.clock)


del OperatorPagesTestsMixin
