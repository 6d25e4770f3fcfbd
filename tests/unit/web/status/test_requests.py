"""Tests of the page's requests: the table, the words, and the view of failures."""

from __future__ import annotations

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from autopilot.observability.history import INTERVAL, INTERVALS, History, HistoryWindow
from autopilot.observability.records import Failover, Outcome
from autopilot.routing.failure_reason import FailureReason
from autopilot.routing.why import Affinity, AffinityWhy, Why
from autopilot.web.status.charts import charts
from autopilot.web.status.formatting import model_name
from autopilot.web.status.requests import Shown, period, requests
from autopilot.web.status.updates import PERIOD
from autopilot.web.status.words import affinity_why_words, outcome_words, reason_words, why_words
from tests.unit.observability.records import record, refused
from tests.unit.web.browsers import SiteTestCase, request
from tests.unit.web.status.test_page import Reading, data
from tests.unit.web.status.test_updates import events
from tests.unit.web.status.values import facts, finished

FAILED = record(
    req_id="req-9",
    model="acme/big-model",
    mode="list",
    why=Why.LISTED,
    attempts=3,
    status=200,
    ttfb_ms=None,
    outcome=Outcome.UPSTREAM_BROKEN,
    reason=FailureReason.CUT,
    failovers=(
        Failover("acme/one", FailureReason("status_503"), 503, 12.3),
        Failover("acme/two", FailureReason.CAPACITY, 429, 2500.0),
        Failover("acme/three", FailureReason.CONNECT_REFUSED, None, 0.4),
    ),
)


class TableTests(SynchronousTestCase):
    """The rows."""

    def test_failure(self) -> None:
        """A row says when, which, why this model, how it ended, and what failed before."""
        shown = str(requests(facts("a", recent=finished(FAILED)), Shown.ALL))
        for part in (
            '<time datetime="1970-01-02T00:00:00.000Z" title="1970-01-02 00:00:00.000Z">00:00:00<',
            ">req-9<",
            ">next in the list, new conversation<",
            ">list<",
            ">/v1/chat/completions<",
            '<span class="badge bad" title="upstream_broken">answer cut off<',
            ">200 cut off<",
            "<b>acme/<wbr>one</b>: HTTP 503 after 12&nbsp;ms<",
            "<b>acme/<wbr>two</b>: at capacity, HTTP 429 after 2.5&nbsp;s<",
            "<b>acme/<wbr>three</b>: connection refused after 0&nbsp;ms<",
            '<td class="num">&ndash;</td>',
        ):
            self.assertIn(part, shown)

    def test_refused(self) -> None:
        """A request without a model shows its error's code, and no reason for a choice."""
        shown = Reading(str(requests(facts("a", recent=finished(refused())), Shown.ALL))).text
        self.assertIn("refused by the router400 unknown_model", shown)
        self.assertNotIn("none", shown)
        for why in Why:
            self.assertNotIn(why_words(why), shown)

    def test_private(self) -> None:
        """A private request says so below its endpoint, with the instance that it had last."""
        for given, words in (
            ({"private": True, "instance": "8f14e45f"}, "private, 8f14e45f"),
            ({"private": True}, "private"),
        ):
            shown = str(requests(facts("a", recent=finished(record(**given))), Shown.ALL))
            self.assertIn(f'<span class="aside">{words}<', shown)
        plain = str(requests(facts("a", recent=finished(record())), Shown.ALL))
        self.assertNotIn("private", plain)

    def test_conversation(self) -> None:
        """A row says whether the conversation kept its model; nothing under a direct name."""
        best, listed, sticky = Why.BEST, Why.LISTED, Why.STICKY
        for why, affinity, cause, words in (
            (best, Affinity.MISS, "new", "best ranked, new conversation"),
            (
                *(best, Affinity.MISS, "expired"),
                "best ranked, conversation began anew: its model was remembered too long ago",
            ),
            (
                listed,
                Affinity.MISS,
                "failed",
                "next in the list, conversation began anew: its model failed",
            ),
            (
                best,
                Affinity.MISS,
                "gone",
                "best ranked, conversation began anew: its model is gone",
            ),
            (best, Affinity.MOVED, "failed", "best ranked, conversation moved: its model failed"),
            (
                best,
                Affinity.MOVED,
                "cooling",
                "best ranked, conversation moved: its model cools down",
            ),
            (
                *(listed, Affinity.MOVED, "listed"),
                "next in the list, conversation moved: its list or route names another first",
            ),
            (best, None, "off", "best ranked, not to stick"),
            (sticky, Affinity.HIT, None, "same conversation"),
            (listed, Affinity.HIT, None, "next in the list, same model as before"),
            (Why.DIRECT, None, None, "the only one named"),
        ):
            known = None if cause is None else AffinityWhy(cause)
            recent = finished(record(why=why, affinity=affinity, affinity_why=known))
            shown = str(requests(facts("a", recent=recent), Shown.ALL))
            self.assertIn(f">{words}<", shown, (affinity, cause))

    def test_data(self) -> None:
        """/status.json has each record whole, with the time of its end."""
        document = data(facts("a", recent=finished(FAILED, record()), failed=finished(FAILED)))
        self.assertEqual(document["recent_failures"], document["recent"][:1])
        self.assertEqual(len(document["recent"]), 2)
        first = document["recent"][0]
        self.assertEqual(first["ended_at"], "1970-01-02T00:00:00.000Z")
        self.assertEqual(
            (first["req_id"], first["why"], first["ttfb_ms"]), ("req-9", "listed", None)
        )
        self.assertEqual(
            first["failovers"][0],
            {"model": "acme/one", "reason": "status_503", "status": 503, "ms": 12.3},
        )


class WordTests(SynchronousTestCase):
    """The words, which need no escaping."""

    def test_every_code(self) -> None:
        """Each code has words of its own, that are plain text and not the code."""
        for codes, words in (
            (tuple(Outcome), [str(outcome_words(each)) for each in Outcome]),
            (tuple(Why), [str(why_words(each)) for each in Why]),
            (tuple(AffinityWhy), [str(affinity_why_words(each)) for each in AffinityWhy]),
            (tuple(FailureReason), [str(reason_words(each)) for each in FailureReason]),
        ):
            self.assertEqual(len(set(words)), len(words))
            for code, said in zip(codes, words, strict=True):
                self.assertRegex(said, r"\A[A-Za-z0-9 ]+\Z")
                self.assertFalse(said.startswith("status"), code)

    def test_names(self) -> None:
        """A name may wrap behind its separators, and only there."""
        self.assertEqual(model_name("a-b/c_d.1"), "a-<wbr>b/<wbr>c_<wbr>d.1")
        self.assertEqual(model_name("<a/b>&'\""), "&lt;a/<wbr>b&gt;&amp;&#x27;&quot;")


class FailureViewTests(SiteTestCase):
    """``?show=failures``."""

    def setUp(self) -> None:
        """Report one success and one failure."""
        super().setUp()
        self.failed = finished(FAILED)
        self.status = lambda: facts(
            "a", recent=finished(record(req_id="req-1"), FAILED), failed=self.failed
        )

    def test_page(self) -> None:
        """Without the script, a link leads to the failures and another one back."""
        everything, failures = self.get(b"/status").body, self.get(b"/status?show=failures").body
        self.assertIn(b"req-1", everything)
        self.assertNotIn(b"req-1", failures)
        for body, current in ((everything, b"status"), (failures, b"status?show=failures")):
            self.assertIn(b"req-9", body)
            self.assertEqual(body.count(b"aria-current"), 1)
            self.assertIn(b'href="%b#requests" aria-current="true"' % current, body)
        self.assertIn(b'data-events="status/events"', everything)
        self.assertIn(b'data-events="status/events?show=failures"', failures)
        for other in (b"?show=all", b"?show=", b"?show=failures&show=failures", b"?x=failures"):
            self.assertEqual(self.get(b"/status" + other).body, everything, other)

    def test_live(self) -> None:
        """Updates keep the view; of two pages each gets its own list of one report."""
        browsers = [self.browser(), self.browser()]
        for browser, query in zip(browsers, (b"", b"?show=failures"), strict=True):
            browser.sends(request(b"/status/events" + query, method=b"GET"))
        everything, failures = (events(each)[0] for each in browsers)
        self.assertIn("req-1", everything["requests"])
        self.assertNotIn("req-1", failures["requests"])
        del everything["requests"], failures["requests"]
        self.assertEqual(everything, failures)
        self.failed = finished(record(req_id="req-2", outcome=Outcome.FAILED), FAILED)
        self.clock.advance(PERIOD)
        self.assertEqual([len(events(each)) for each in browsers], [1, 2])
        self.assertEqual(set(events(browsers[1])[1]), {"requests"})

    def test_none(self) -> None:
        """Without failures, the view says so."""
        self.failed = ()
        self.assertIn(b"No request has failed", self.get(b"/status?show=failures").body)
        self.assertIn(b"req-9", self.get(b"/status").body)


class PeriodTests(SynchronousTestCase):
    """A young router's charts."""

    def test_words(self) -> None:
        """The period is the half hour, or the time since the start, rounded up."""
        for covered, words in (
            (INTERVALS, "the last 30 minutes"),
            (59, "the 30 minutes since the start"),
            (3, "the 2 minutes since the start"),
            (1, "the minute since the start"),
        ):
            self.assertEqual(period(HistoryWindow(covered=covered)), words)

    def test_scale(self) -> None:
        """The charts begin with the start, two minutes ago at least, and half an hour at most."""
        clock = Clock()
        clock.advance(1e6)
        history = History(clock.seconds)
        shapes = []
        for minutes in (0, 7, 120):
            clock.advance(60 * minutes)
            history.add(record())
            shown = str(charts(history.window()))
            shapes.append(shown.partition('class="axis"><span>')[2].split("<")[0])
        self.assertEqual(shapes, ["2 min ago", "7.5 min ago", "30 min ago"])

    def test_table(self) -> None:
        """The tables have a row for each five minutes since the start, the first one shorter."""
        clock = Clock()
        history = History(clock.seconds)
        for _ in range(14):
            history.add(record())
            clock.advance(INTERVAL)
        history.add(record())
        reading = Reading(str(charts(history.window()))).text
        self.assertIn("0 to 510", reading.replace("\n", ""))
        self.assertIn("5 to 7.55", reading)
        self.assertIn("15 requests", reading)


class JsonTests(SynchronousTestCase):
    """The report's past."""

    def test_covered(self) -> None:
        """The past has all its intervals, and in how many of the last the router was running."""
        past = data(facts("a", window=HistoryWindow(covered=3)))["past"]
        self.assertEqual((len(past["intervals"]), past["covered"]), (INTERVALS, 3))
