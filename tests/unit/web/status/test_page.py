"""Tests of the status page, rendered from values."""

from __future__ import annotations

import json
from html.parser import HTMLParser
from typing import Any
from unittest.mock import patch

from markupsafe import Markup
from msgspec.structs import replace
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from autopilot.attestation.evidence_poller import Findings, ModelEvidence
from autopilot.attestation.evidence_state import NOT_FETCHED, EvidenceState
from autopilot.observability.history import History
from autopilot.observability.records import Failover
from autopilot.routing.catalog import Catalog, Model
from autopilot.routing.failure_reason import FailureReason
from autopilot.routing.usage import Usage
from autopilot.web.status import markup
from autopilot.web.status.assets import load_assets
from autopilot.web.status.formatting import age, dollars, duration, evidence, number, percent
from autopilot.web.status.markup import el, join
from autopilot.web.status.page import page
from autopilot.web.status.ranking import ranking
from autopilot.web.status.report import SLICE_BYTES, StatusReport
from autopilot.web.status.requests import Shown, requests
from autopilot.web.status.sections import _evidence, sections
from autopilot.web.status.tables import MAX_ROWS
from tests.unit.observability.records import record
from tests.unit.relay.profiled import calls
from tests.unit.web.browsers import SiteTestCase
from tests.unit.web.status.values import facts, finished, ready

HOSTILE = (
    "<script>alert(1)</script>",
    '" onmouseover="alert(1)',
    "</td></table><img src=x onerror=alert(1)>",
    "{{7*7}}&amp;%s{0}",
    "org/'><svg/onload=alert(1)>",
)


class Reading(HTMLParser):
    """The elements and the text of a document, whose elements must be nested correctly."""

    def __init__(self, document: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self._open: list[str] = []
        self.feed(document)
        self.close()
        assert not self._open, self._open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """See `HTMLParser`."""
        assert len({name for name, _ in attrs}) == len(attrs), attrs
        self.tags.append((tag, dict(attrs)))
        if tag not in ("br", "link", "meta", "wbr"):
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        """See `HTMLParser`."""
        assert self._open.pop() == tag, tag

    def handle_data(self, data: str) -> None:
        """See `HTMLParser`."""
        self.text += data


def data(report: StatusReport) -> dict[str, Any]:
    """Return a report as /status.json has it."""
    document: dict[str, Any] = json.loads(b"".join(report.slices()))
    return document


def read(shown: StatusReport) -> Reading:
    """Return the parsed page of this report."""
    return Reading(page(shown.version, sections(shown), load_assets()).decode("utf-8"))


class PageTests(SynchronousTestCase):
    """The document."""

    def test_hostile_names(self) -> None:
        """A name is text everywhere, and adds neither elements nor attributes."""
        plain = [f"name{place}" for place in range(len(HOSTILE))]

        def shown(names: list[str] | tuple[str, ...]) -> Reading:
            failed = Failover(names[0], FailureReason.CUT, None, 1.0)
            recent = finished(
                *(
                    record(
                        req_id=name,
                        model=name,
                        mode=name,
                        endpoint=name,
                        code=name,
                        failovers=(failed, replace(failed, model=name)),
                    )
                    for name in names
                )
            )
            cooling = dict.fromkeys(names, 3.0)
            return read(facts(*names, recent=recent, cooling=cooling, version=names[0]))

        hostile, harmless = shown(HOSTILE), shown(plain)
        shapes = [
            sorted(
                (tag, tuple(attributes))
                for tag, attributes in each.tags
                if tag not in ("span", "wbr")
            )
            for each in (hostile, harmless)
        ]
        self.assertEqual(*shapes)
        for name in HOSTILE:
            self.assertIn(name.rpartition("/")[2], hostile.text)

    def test_nothing_inline(self) -> None:
        """The document has no inline script, style or handler, and only relative URLs."""
        for tag, attributes in read(facts("a", "b", cooling={"a": 1.0})).tags:
            self.assertNotEqual(tag, "style")
            for name, value in attributes.items():
                self.assertFalse(name == "style" or name.startswith("on"), name)
                if name in ("href", "src", "data-events"):
                    self.assertRegex(value or "", r"\A(status[/.?#]|metrics\Z|readyz\Z|#)")

    def test_every_state(self) -> None:
        """Each state has a title, a meaning and, if not ready, advice."""
        for given, title in (
            (ready(loads_at=90.0), "Ready"),
            (ready(catalog_at=None), "Waiting for the model catalog"),
            (ready(catalog_at=-900.0), "The model catalog was last fetched more than 15 min ago"),
            (ready(loads_at=None), "Waiting for the utilization feed"),
            (ready(loads_at=10.0), "Utilization was last fetched more than 60 s ago"),
            (ready(draining=True), "Shutting down"),
        ):
            document = str(sections(facts(readiness=given))["state"])
            self.assertIn(f"<h2>{title}</h2>", document)
            self.assertEqual("advice" in document, given.status != 200)
            code = f"<code>{given.code}</code>"
            self.assertEqual(code in document, given.status != 200)

    def test_ages(self) -> None:
        """A feed has the age of its fetch and, beside it, that of its data."""
        reading = read(facts("a", readiness=ready(loads_at=98.0, measured_at=98.0 - 1900.0))).text
        self.assertIn("Utilization fetched2 s agofresh up to 60 smeasured 31 min ago", reading)
        self.assertIn("Model catalog fetched100 s agofresh up to 15 minUtilization", reading)
        self.assertNotIn("measured", read(facts("a")).text.replace("measured by", ""))

    def test_feed_states(self) -> None:
        """The states of the feeds are in words."""
        for given, words in (
            (ready(catalog_at=None), "Model catalog fetchednot yetwaiting for the first fetch"),
            (ready(loads_at=10.0), "Utilization fetched90 s agoolder than its limit of 60 s"),
        ):
            self.assertIn(words, read(facts("a", readiness=given)).text)

    def test_empty(self) -> None:
        """Before the first fetch, the ranking and the requests are empty, with a message."""
        text = read(facts(readiness=ready(catalog_at=None))).text
        self.assertIn("No model is eligible", text)
        self.assertIn("No request has finished", text)
        self.assertIn("No response in the last 30 minutes", text)

    def test_why(self) -> None:
        """The first model's score and its lead are explained in a sentence."""
        text = read(facts("acme/one", "acme/two")).text
        self.assertIn(
            "acme/one is first: 2.25 free instances + 0.00 for scaling − 0.60 for rate-limited "
            "requests = 1.65, 0.55 ahead of the next.",
            text,
        )

    def test_many_models(self) -> None:
        """Twelve models are visible, the others are in a disclosure."""
        document = str(sections(facts(*(f"m{place:03}" for place in range(60))))["ranking"])
        first, rest = document.split("<details")
        self.assertEqual((first.count("<tr>"), rest.count("<tr>")), (13, 49))
        self.assertIn("48 more models", rest)

    def test_limit(self) -> None:
        """Tables and lists have 200 rows at most, and count the others, which a link leads to."""
        names = [f"m{place:04}" for place in range(2000)]
        models = Catalog.of([Model(name, tee=place > 0) for place, name in enumerate(names)]).models
        evidence = Findings(models, lambda model: ModelEvidence(NOT_FETCHED))
        document = sections(facts(*names, evidence=evidence, cooling=dict.fromkeys(names, 1.0)))
        for name, row, things, left in (
            ("ranking", "<tr><th", "2,000 models", 1800),
            ("cooling", "<li>", "", 1800),
            ("evidence", '<tr><th scope="row"', "1,999 models", 1799),
        ):
            text = document[name]
            self.assertLessEqual(text.count(row), 202, name)
            self.assertIn(things, text)
            self.assertIn(f"and {left:,} more models", text)
            self.assertIn('<a href="status.json">', text)
        self.assertEqual(document["ranking"].count('class="place"'), MAX_ROWS)
        few = sections(facts(*names[:MAX_ROWS]))
        self.assertNotIn("status.json", few["ranking"])
        self.assertEqual(few["ranking"].count('class="place"'), MAX_ROWS)

    def test_work(self) -> None:
        """The elements that are built one by one do not grow with the number of models."""
        built = []
        for count in (10, 200, 2000):
            report = facts(*(f"m{place:04}" for place in range(count)))
            with patch.object(markup, "Markup", side_effect=Markup) as made:
                sections(report)
            built.append(made.call_count)
        self.assertLess(built[1] - built[0], 10)
        self.assertLess(built[2] - built[1], 10)

    def test_work_of_a_row(self) -> None:
        """A row costs a bounded number of calls: a table has 200 of them, and is made in a turn."""
        failed = Failover("acme/other", FailureReason.CUT, None, 1.0)

        def report(rows: int) -> StatusReport:
            names = [f"acme/other-{place}-TEE" for place in range(rows)]
            return facts(
                *names,
                recent=finished(*(record(model=each, failovers=(failed,)) for each in names)),
                first_content=dict.fromkeys(names, 1.2),
                throughput=dict.fromkeys(names, 33.0),
                evidence=Findings(Catalog.of([Model(each, tee=True) for each in names]).models),
            )

        few, many = report(100), report(200)
        for render, most in (
            (ranking, 60),
            (lambda each: requests(each, Shown.ALL), 170),
            (_evidence, 30),
        ):
            each = (calls(render, many) - calls(render, few)) / 100
            self.assertLess(each, most, render)

    def test_accessible_tables(self) -> None:
        """Every table has a caption and scopes, in a labelled and focusable region."""
        reading = read(facts("a", cooling={"a": 0.0}))
        tables = [tag for tag, _ in reading.tags].count("table")
        regions = [each for tag, each in reading.tags if each.get("role") == "region"]
        self.assertEqual(len(regions), tables)
        ids = [each["id"] for _, each in reading.tags if "id" in each]
        self.assertEqual(len(ids), len(set(ids)))
        for each in regions:
            self.assertEqual(each["tabindex"], "0")
            self.assertIn(each["aria-labelledby"], ids)
        self.assertTrue(all("scope" in each for tag, each in reading.tags if tag == "th"))

    def test_charts(self) -> None:
        """A chart is an image with a label and a summary."""
        clock = Clock()
        history = History(clock.seconds)
        for _ in range(4):
            history.add(record(ttfb_ms=500.0, failovers=("status_503",)))
            clock.advance(200.0)
        document = str(sections(facts(window=history.window()))["charts"])
        self.assertEqual(document.count('role="img"'), 2)
        self.assertIn("Half of 4 responses began within", document)
        self.assertIn("4 failed attempts in 4 requests.", document)

    def test_tokens(self) -> None:
        """The tokens of half an hour, the cached share and the cost; hidden without any."""
        history = History(Clock().seconds)
        history.add(record())
        empty = str(sections(facts(window=history.window()))["tokens"])
        self.assertIn("hidden", empty)
        self.assertNotIn("$", empty)
        history.add(record(usage=Usage(12_000, 9000, 800, 30), cost_picodollars=12_340_000_000))
        document = str(sections(facts(window=history.window()))["tokens"])
        for text in ("12,000", "75 %", "9,000 tokens", "800", "30 for reasoning", "$0.012"):
            self.assertIn(text, document)
        self.assertNotIn("hidden", document)

    def test_current(self) -> None:
        """The sections show the report's own data, whatever was rendered before."""
        before = sections(facts("a", "b", cooling={"a": 3.9}))
        after = sections(facts("a", "b", cooling={"a": 2.0}, throughput={"a": 5.0}))
        self.assertIn("cooling for 3 s", before["ranking"])
        self.assertIn("cooling for 2 s", after["ranking"])
        self.assertIn("5.0", after["ranking"])

    def test_words(self) -> None:
        """The formats of numbers."""
        self.assertEqual(
            [number(-0.001), number(-2.5, 1), number(None)], ["0.00", "\u22122.5", "–"]
        )
        self.assertEqual([percent(0.0), percent(0.034), percent(0.5)], ["0 %", "3.4 %", "50 %"])
        self.assertEqual(
            [dollars(0.0), dollars(0.000012345), dollars(0.5), dollars(1.0), dollars(1234.567)],
            ["$0.00", "$0.000012", "$0.50", "$1.00", "$1,234.57"],
        )
        self.assertEqual(
            [duration(0.2), duration(3.21), duration(600)], ["200 ms", "3.2 s", "10.0 min"]
        )
        self.assertEqual(
            [age(None), age(119.9), age(600), age(9000), age(180_000)],
            ["never", "119 s", "10 min", "2 h", "2 days"],
        )

    def test_markup(self) -> None:
        """Children and attributes are escaped unless they are markup."""
        self.assertEqual(el("p", "<", el("b", 1), None, ["&"]), "<p>&lt;<b>1</b>&amp;</p>")
        self.assertEqual(el("br", class_='"', hidden=True, id=None), '<br class="&#34;" hidden>')
        self.assertEqual(join("a", "<"), "a&lt;")


class AssetTests(SiteTestCase):
    """The routes of script, style sheet and icon."""

    def test_fields(self) -> None:
        """The page is neither cached nor framed; its assets are cached by version."""
        got = self.get(b"/status")
        self.assertEqual(got.value(b"cache-control"), b"no-store")
        self.assertEqual(got.value(b"referrer-policy"), b"no-referrer")
        self.assertEqual(got.value(b"x-content-type-options"), b"nosniff")
        for name, asset in load_assets().items():
            path = f"/status/{name}".encode()
            link = path + b"?v=" + asset.version.encode()
            self.assertIn(link[1:], got.body)
            fresh, plain = self.get(link), self.get(path)
            self.assertEqual((fresh.body, plain.body), (asset.body, asset.body))
            self.assertEqual(fresh.value(b"content-type"), asset.content_type)
            self.assertIn(b"immutable", fresh.value(b"cache-control") or b"")
            self.assertEqual(plain.value(b"cache-control"), b"no-cache")
            again = self.get(path, b"If-None-Match: " + (plain.value(b"etag") or b""))
            self.assertEqual((again.status, again.body), (304, b""))

    def test_methods(self) -> None:
        """Assets support only GET and HEAD, and only on the operators' port."""
        for path in (b"/status", b"/status/events", b"/status/page.js"):
            got = self.get(path, method=b"POST")
            self.assertEqual((got.status, got.value(b"allow")), (405, b"GET, HEAD"))
        self.site = self.make_site(self.tree(operators=False))
        for path in (b"/status/events", b"/status/page.js", b"/status/icon.svg"):
            self.assertEqual(self.get(path).status, 404)


class EvidenceWordsTests(SynchronousTestCase):
    """The words for the states of evidence."""

    def test_every_state(self) -> None:
        """Each state has its own words, and none claims a verification."""
        said = [evidence(state) for state in EvidenceState]
        self.assertEqual(
            said, ["no TEE claimed", "not fetched yet", "none", "present, not verified"]
        )


class DocumentTests(SynchronousTestCase):
    """The report as data."""

    def test_measurements(self) -> None:
        """Measurements have names with their unit."""
        document = data(facts("a", first_content={"a": 0.25}, throughput={"a": 80.0}))
        self.assertEqual(document["first_content_seconds"], {"a": 0.25})
        self.assertEqual(document["tokens_per_second"], {"a": 80.0})
        self.assertNotIn("events_per_second", document)

    def test_order(self) -> None:
        """The members have a fixed order, and each is there even if empty."""
        document = data(StatusReport("1", ready()))
        self.assertEqual(
            list(document),
            [
                "version",
                "ready",
                "readiness",
                "requests_active",
                "ranking",
                "cooling",
                "cooling_for_ms",
                "first_content_seconds",
                "tokens_per_second",
                "evidence",
                "routes",
                "recent",
                "recent_failures",
                "past",
            ],
        )
        self.assertEqual((document["ranking"], document["evidence"]), ([], {}))

    def test_slices(self) -> None:
        """A long report consists of slices of similar length, and contains every model once."""
        names = [f"m{place:04}" for place in range(5000)]
        models = Catalog.of([Model(name) for name in names]).models
        report = facts(
            *names,
            cooling=dict.fromkeys(reversed(names), 1.5),
            throughput=dict.fromkeys(names, 2.5),
            evidence=Findings(models),
        )
        slices = list(report.slices())
        self.assertGreater(len(slices), 10)
        self.assertLess(max(map(len, slices)), 2 * SLICE_BYTES)
        document = json.loads(b"".join(slices))
        self.assertEqual([each["name"] for each in document["ranking"]], names)
        self.assertEqual(document["cooling"], names)
        self.assertEqual(document["cooling_for_ms"], dict.fromkeys(names, 1500))
        self.assertEqual(document["tokens_per_second"], dict.fromkeys(names, 2.5))
        self.assertEqual(document["evidence"], {name: {"state": "no-tee"} for name in names})
