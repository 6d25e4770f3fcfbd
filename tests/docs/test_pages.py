"""The parts of pages that are generated from the code, and their errors."""

from __future__ import annotations

import ast
import json
import re
from pathlib import Path
from unittest.mock import patch

from twisted.trial.unittest import SynchronousTestCase

from autopilot.attestation.verdict import Refusal
from autopilot.attestation.verdicts import NoEvidence
from autopilot.feeds.readiness import Readiness
from autopilot.observability.records import Outcome
from autopilot.routing.failure_reason import FailureReason
from autopilot.routing.why import AffinityWhy, Why
from autopilot.settings import DECLARED
from autopilot.web.status.report import StatusReport
from tools.docs import clients, deciding, records, refusals, settings, status, tables
from tools.docs.blocks import ROOT, pages
from tools.docs.labels import labelled
from tools.docs.pages import GENERATED, UnknownPlaceError, filled
from tools.docs.site import problems


class PageTests(SynchronousTestCase):
    """Pages and their generated parts."""

    def test_everything_generated_is_shown(self) -> None:
        """Each part is in exactly one page, and each page can be generated."""
        written = [path.read_text("utf-8") for path in pages()]
        for name in GENERATED:
            places = sum(text.count(f"{{{{ {name} }}}}") for text in written)
            self.assertEqual(places, 1, name)
        for text in written:
            self.assertNotIn("{{", filled(text))

    def test_unknown_places(self) -> None:
        """An unknown placeholder is an error."""
        self.assertRaises(UnknownPlaceError, filled, "{{ nonsense }}")

    def test_settings(self) -> None:
        """Every setting has its heading, its default and the moment it takes effect."""
        shown = settings.settings()
        for each in DECLARED:
            about = shown.partition(f"\n### `{each.name}`\n")[2].partition("\n###")[0]
            self.assertIn(each.help, about)
            self.assertIn("*Live.*" if each.live else "Needs a restart.", about)

    def test_groups_of_settings(self) -> None:
        """Every setting is in one group, and in its table with its default and one sentence."""
        groups = list(settings.grouped())
        self.assertEqual([title for title, _ in groups], list(settings._GROUPS.values()))
        self.assertEqual([each for _, group in groups for each in group], list(DECLARED))
        shown = settings.settings_overview()
        for each in DECLARED:
            (row,) = re.findall(
                rf"^\| \[`{each.name}`\]\(#{each.field}\) \|.*$", shown, re.MULTILINE
            )
            self.assertIn(tables.code(each.default), row)

    def test_outcomes(self) -> None:
        """The page of the outcomes explains each outcome and each reason, and no other."""
        page = (ROOT / "docs" / "outcomes.md").read_text("utf-8")
        explained, _, reasons = page.partition("## Reasons")
        rows = re.compile(r"^\| `(\w+)` \| \w[^|]+\. \| \w[^|]+\. \|$", re.MULTILINE)
        self.assertEqual(rows.findall(explained), list(Outcome))
        statuses = {each for each in FailureReason if each.startswith("status_5")}
        self.assertEqual(set(rows.findall(reasons)), {*FailureReason} - statuses | {"status_NNN"})

    def test_members_of_the_status(self) -> None:
        """The page of /status.json lists the members of a report, in order."""
        page = (ROOT / "docs" / "status-json.md").read_text("utf-8")
        rows = page.partition("## Members")[2].partition("\n## ")[0]
        report = StatusReport("0", Readiness(200, None, "", 0, ()))
        members = json.loads(b"".join(report.slices()))
        self.assertEqual(re.findall(r"^\| `(\w+)` \|", rows, re.MULTILINE), list(members))

    def test_words_of_the_status_page(self) -> None:
        """The page of the status page has the words for each code, once."""
        shown = re.findall(r"^\| [^|]+ \| `(\w+)` \|", status.status_words(), re.MULTILINE)
        statuses = {each for each in FailureReason if each.startswith("status_")}
        reasons = {*FailureReason} - statuses
        expected = [*Outcome, *Why, *AffinityWhy, *reasons, "status_503"]
        self.assertEqual(sorted(shown), sorted(map(str, expected)))

    def test_reasons_of_private_mode(self) -> None:
        """The page of private mode says what was checked for each reason, in their order."""
        shown = re.findall(r"^\| `(\w+)` \|", status.private_reasons(), re.MULTILINE)
        self.assertEqual(shown, [*Refusal, *NoEvidence])

    def test_failures(self) -> None:
        """Every failover reason is described."""
        shown = tables.failover_rules() + tables.failures_without_a_response()
        statuses = {each for each in FailureReason if each.startswith("status_5")}
        for reason in {"status_NNN", *FailureReason} - statuses:
            self.assertIn(f"`{reason}`", shown)

    def test_metrics(self) -> None:
        """Metrics have their Prometheus names and labels."""
        shown = tables.metrics()
        self.assertIn("| `chutes_autopilot_requests_total` | counter | `status` |", shown)
        self.assertIn("`chutes_autopilot_requests_active` | gauge | –", shown)

    def test_refusals(self) -> None:
        """The codes of all errors are found, even if a message is composed."""
        shown = tables.refusals()
        for code in ("unknown_model", "overloaded", "request_too_large", "loop_detected"):
            self.assertIn(f"`{code}`", shown)
        self.assertIn("The request body is larger than the … bytes allowed.", shown)
        self.assertNotIn("| … |", shown)

    def test_refusals_that_cannot_be_read(self) -> None:
        """An error whose code is not a literal is an error, because the page would lack it."""
        path = Path(self.mktemp())
        path.write_text("RouterError(status, code, 'x')")
        self.assertRaises(refusals.UnreadableError, list, refusals._made_in(path))
        self.assertIsInstance(ast.parse(path.read_text()), ast.Module)

    def test_record_fields(self) -> None:
        """A field without a description is an error."""
        self.assertIn("| `ttfb_ms` |", records.record_fields())
        with patch.dict(records._MEANINGS, clear=False) as meanings:
            del meanings["ttfb_ms"]
            self.assertRaises(records.UndescribedError, records.record_fields)

    def test_clients(self) -> None:
        """A client that is in no lock is an error."""
        self.assertIn("| `litellm`, Python |", clients.clients())
        with patch.object(clients, "_PYTHON", ("telepathy",)):
            self.assertRaises(clients.UnpinnedError, clients.clients)

    def test_example(self) -> None:
        """The worked example shows what its text describes."""
        first, second, third, last = deciding.ranking()
        self.assertEqual((first.name, last.name), ("acme/large-TEE", "acme/busy"))
        self.assertGreater(first.util, max(second.util, third.util))
        self.assertLess(last.score, 0)
        self.assertGreater(last.penalty, last.free)
        plans = deciding.plans()
        self.assertIn("`acme/small`, `acme/large-TEE`", plans)
        self.assertIn("with a picture in the request | `acme/vision` |", plans)


class LabelTests(SynchronousTestCase):
    """The labels of cells."""

    def test_labels(self) -> None:
        """Each cell has the text of its column's heading, and nothing outside tables changes."""
        html = (
            '<p><td></p><table>\n<thead>\n<tr>\n<th><code>a</code></th>\n<th>b "c"</th>\n</tr>\n'
            "</thead>\n<tbody>\n<tr>\n<td>1</td>\n<td>2</td>\n</tr>\n<tr>\n<td>3</td>\n"
            "<td></td>\n</tr>\n</tbody>\n</table>"
        )
        shown = labelled(html)
        self.assertEqual(
            re.findall('<td data-label="(.*?)">(.*?)</td>', shown),
            [("a", "1"), ("b &quot;c&quot;", "2"), ("a", "3"), ("b &quot;c&quot;", "")],
        )
        plain = re.sub(' data-(label|rows)=".*?"', "", shown)
        self.assertEqual(plain, html)
        self.assertIn('<table data-rows="table">', shown)

    def test_breaks(self) -> None:
        """A name in a cell may break between its parts, and keeps its text."""
        html = "<table>\n<tr>\n<th>h</th>\n</tr>\n<tr>\n<td><code>{}</code></td>\n</tr>\n</table>"
        for name, parts in (
            ("tests/a.py::B.test_c", ["tests/", "a.", "py::", "B.", "test_", "c"]),
            ("0.0.0.0:8080", ["0.0.0.0:8080"]),
            ("&lt;/p&gt;", ["&lt;/", "p&gt;"]),
        ):
            shown = labelled(html.format(name)).partition("<code>")[2].partition("</code>")[0]
            self.assertEqual(shown.split("<wbr>"), parts)

    def test_cards(self) -> None:
        """Many columns with long texts are cards; many short ones, or few long ones, are not."""
        for columns, text, kind in (
            (6, "x" * 50, "cards"),
            (6, "x", "table"),
            (5, "x" * 90, "table"),
        ):
            head, row = "<th>h</th>" * columns, f"<td>{text}</td>" * columns
            html = f"<table>\n<tr>\n{head}</tr>\n<tr>\n{row}</tr>\n</table>"
            self.assertIn(f'<table data-rows="{kind}">', labelled(html))


class SiteTests(SynchronousTestCase):
    """The check of a built site."""

    def site(self, **pages: str) -> list[str]:
        """Return the errors in these pages."""
        folder = Path(self.mktemp())
        folder.mkdir()
        for name, text in pages.items():
            folder.joinpath(name.replace("_", ".")).write_text(text)
        return list(problems(folder))

    def test_good(self) -> None:
        """Links to pages, anchors, files and other sites are accepted."""
        links = ["b.html", "b.html#x", "#y", "c.css", "https://elsewhere.example/"]
        page = "".join(f"<a href='{link}'>l</a>" for link in links)
        self.assertEqual(
            self.site(
                a_html=f"<link rel=stylesheet href=c.css><p id=y>{page}",
                b_html="<a id=x>",
                c_css="p { background: url(data:x) }",
            ),
            [],
        )

    def test_bad(self) -> None:
        """Broken links and resources of other sites are reported."""
        found = self.site(
            a_html="<a href=no.html></a><a href='#no'></a><img src=no.png>"
            "<script src=https://cdn.example/x.js></script>",
            c_css="@import 'https://fonts.example/f.css'; p { background: url(no.png) }",
        )
        self.assertEqual(
            found,
            [
                "a.html: no.html leads nowhere",
                "a.html: #no leads nowhere",
                "a.html: no.png is not part of the site",
                "a.html: https://cdn.example/x.js is not part of the site",
                "c.css: https://fonts.example/f.css is not part of the site",
                "c.css: no.png is not part of the site",
            ],
        )
