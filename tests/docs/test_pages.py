"""The parts of pages that are generated from the code, and their errors."""

from __future__ import annotations

import ast
from pathlib import Path
from unittest.mock import patch

from twisted.trial.unittest import SynchronousTestCase

from autopilot.routing.failure_reason import FailureReason
from autopilot.settings import DECLARED
from tools.docs import clients, deciding, records, refusals, tables
from tools.docs.blocks import pages
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
        shown = tables.settings()
        for each in DECLARED:
            about = shown.partition(f"## `{each.name}`\n")[2].partition("\n## ")[0]
            self.assertIn(each.help, about)
            self.assertIn("*Live.*" if each.live else "Needs a restart.", about)

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
