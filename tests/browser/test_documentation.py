"""The documentation in Chromium, opened from the file system as `make docs` leaves it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from unittest import SkipTest

from twisted.trial.unittest import SynchronousTestCase

from tests.browser.test_status_page import CHROMIUM, CONTRAST, reason_to_skip

ROOT = Path(__file__).resolve().parents[2]
WIDTHS = (1300, 768, 390)
PATIENCE_MS = 30_000
# What is wider than its page or its place: the page itself, a table, a cell. Code may scroll.
WIDER = """() => {
  const found = [];
  const root = document.documentElement;
  if (root.scrollWidth > root.clientWidth) found.push(`page: ${root.scrollWidth}`);
  const place = document.querySelector('article').getBoundingClientRect();
  for (const each of document.querySelectorAll('article table, article td, article th')) {
    const head = each.closest('thead');
    if (head && getComputedStyle(head).clipPath !== 'none') continue;  // only for screen readers
    const box = each.getBoundingClientRect();
    if (box.right > place.right + 1 || each.scrollWidth > each.clientWidth + 1)
      found.push(`${each.tagName}: ${each.textContent.slice(0, 60)}`);
  }
  return found;
}"""
# The copy button of each block is a landmark of the same kind, which a script of the theme adds.
# Without `preload: False` axe requests the style sheets, which a page from a file may not do.
OPTIONS = {"preload": False, "rules": {**CONTRAST["rules"], "landmark-unique": {"enabled": False}}}
# A page of each kind: prose and code, tables, cards, generated parts. A narrow screen has another
# layout, with a drawer for the navigation: one page in each palette covers it.
SAMPLE = {
    "default": (("index", 1300), ("nginx", 1300), ("nginx", 390)),
    "slate": (("upgrade", 1300), ("tuning", 1300), ("upgrade", 390)),
}


class DocumentationTests(SynchronousTestCase):
    """One build and one browser for all tests."""

    folder: Path
    playwright: Any
    chromium: Any

    @classmethod
    def setUpClass(cls) -> None:
        """Build the site, and start the browser."""
        missing = reason_to_skip()
        if missing is None and find_spec("material") is None:
            missing = "mkdocs-material is not installed here; `make venv` installs it"
        if missing is not None:
            raise SkipTest(missing)
        cls.folder = Path(tempfile.mkdtemp(prefix="documentation-"))
        subprocess.run(
            (*(sys.executable, "-m", "mkdocs", "build"), *("--quiet", "--site-dir", cls.folder)),
            cwd=ROOT,
            env=os.environ | {"NO_MKDOCS_2_WARNING": "1"},
            check=True,
        )
        cls.playwright = import_module("playwright.sync_api").sync_playwright().start()
        # Chromium's sandbox does not work for root.
        sandbox = ["--no-sandbox"] if os.geteuid() == 0 else []
        cls.chromium = cls.playwright.chromium.launch(executable_path=CHROMIUM, args=sandbox)

    @classmethod
    def tearDownClass(cls) -> None:
        """Stop the browser, and remove the site."""
        cls.chromium.close()
        cls.playwright.stop()
        shutil.rmtree(cls.folder)

    def page(self, **options: Any) -> Any:
        """Return an empty page; a foreign request or a message of the console fails the test."""
        context = self.chromium.new_context(reduced_motion="reduce", **options)
        context.set_default_timeout(PATIENCE_MS)
        self.addCleanup(context.close)
        page = context.new_page()
        complaints: list[str] = []
        page.on("console", lambda message: complaints.append(message.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on(
            "request",
            lambda request: (
                complaints.append(request.url)
                if not request.url.startswith(("file:", "data:", "blob:"))
                else None
            ),
        )
        self.addCleanup(lambda: self.assertEqual(complaints, []))
        return page

    def sites(self) -> Iterator[str]:
        """Return the addresses of all pages."""
        paths = [path for path in sorted(self.folder.rglob("*.html")) if path.name != "404.html"]
        self.assertGreater(len(paths), 20)
        return (path.as_uri() for path in paths)

    def test_widths(self) -> None:
        """No page scrolls sideways, and no table or cell is cut or runs out, at any width."""
        page = self.page()
        found = []
        for address in self.sites():
            page.goto(address, wait_until="load")
            # The theme moves its search box over some time when the width changes.
            page.add_style_tag(content="* { transition: none !important }")
            for width in WIDTHS:
                page.set_viewport_size({"width": width, "height": 900})
                found += [f"{address} at {width}: {each}" for each in page.evaluate(WIDER)]
        self.assertEqual(found, [])

    def test_tables_are_seen(self) -> None:
        """The test of the widths notices a table that is too wide."""
        page = self.page(viewport={"width": 390, "height": 900})
        page.goto((self.folder / "research" / "RELIABILITY.html").as_uri())
        self.assertEqual(page.evaluate(WIDER), [])
        page.add_style_tag(content="article td { white-space: nowrap; overflow-wrap: normal }")
        self.assertNotEqual(page.evaluate(WIDER), [])

    def test_search(self) -> None:
        """The search finds a setting without a server."""
        page = self.page(viewport={"width": 1300, "height": 900})
        page.goto((self.folder / "index.html").as_uri())
        page.click("[data-md-component=search-query]")
        page.keyboard.type("failover_after_ms")
        first = page.locator(".md-search-result__link").first
        first.wait_for()
        self.assertIn("settings.html", first.get_attribute("href"))

    def test_axe(self) -> None:
        """Axe finds nothing, in both palettes, on desktops and phones."""
        axe = import_module("axe_playwright_python.sync_playwright").Axe()
        for scheme, samples in SAMPLE.items():
            dark = "dark" if scheme == "slate" else "light"
            page = self.page(color_scheme=dark)
            for name, width in samples:
                page.set_viewport_size({"width": width, "height": 900})
                page.goto((self.folder / f"{name}.html").as_uri())
                shown = page.evaluate("document.body.getAttribute('data-md-color-scheme')")
                self.assertEqual(shown, scheme)
                violations = axe.run(page, options=OPTIONS).response["violations"]
                found = [
                    (each["id"], [node["html"][:200] for node in each["nodes"][:3]])
                    for each in violations
                ]
                self.assertEqual(found, [], f"{name} {scheme} {width}")
