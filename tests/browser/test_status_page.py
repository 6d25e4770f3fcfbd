"""The pages for people in Chromium, with a router and the stub backend as processes."""

from __future__ import annotations

import json
import os
import re
import shutil
import tempfile
import time
from collections.abc import Callable, Iterable
from http.client import HTTPConnection
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from unittest import SkipTest

from twisted.trial.unittest import SynchronousTestCase

from stub_backend.demo.private import KIT, write_roots
from stub_backend.demo.processes import HOST, Process, get_json, router, stub
from tests.rigs.smoke.client import fetch_json

CHROMIUM = shutil.which("chromium")
PICTURES = Path(__file__).resolve().parents[2] / "logs" / "browser"
PATIENCE = 30.0
PATIENCE_MS = PATIENCE * 1000
CONTRAST = {"rules": {"color-contrast-enhanced": {"enabled": False}}}


def reason_to_skip() -> str | None:
    """Return why these tests cannot run, or None."""
    if find_spec("playwright") is None or find_spec("axe_playwright_python") is None:
        return "Playwright is not installed here; `make venv` installs it"
    if CHROMIUM is None:
        return "there is no chromium here; on Debian: apt-get install chromium"
    return None


def until(true: Callable[[], Any]) -> None:
    """Poll until the condition is true."""
    end = time.monotonic() + PATIENCE
    while not true():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.1)


class StatusPageTests(SynchronousTestCase):
    """One browser and one router for all tests; each test has its own browser context."""

    folder: Path
    stub: Process
    router: Process
    playwright: Any
    chromium: Any

    @classmethod
    def setUpClass(cls) -> None:
        """Start stub, router and browser, and make requests for the page to show."""
        missing = reason_to_skip()
        if missing is not None:
            raise SkipTest(missing)
        cls.folder = Path(tempfile.mkdtemp(prefix="browser-"))
        cls.stub, cls.router = _processes(cls.folder)
        names = ("chutesai/AutoPilot", "chutesai/AutoPilot", "nobody/nothing")
        for model in (*names, "chutesai/AutoPilot-Private"):
            _ask(cls.router.port, model)
        cls.playwright = import_module("playwright.sync_api").sync_playwright().start()
        # Chromium's sandbox does not work for root.
        sandbox = ["--no-sandbox"] if os.geteuid() == 0 else []
        cls.chromium = cls.playwright.chromium.launch(executable_path=CHROMIUM, args=sandbox)
        PICTURES.mkdir(parents=True, exist_ok=True)

    @classmethod
    def tearDownClass(cls) -> None:
        """Stop them."""
        cls.chromium.close()
        cls.playwright.stop()
        cls.router.end()
        cls.stub.end()
        shutil.rmtree(cls.folder)

    def open(self, path: str = "/status", **options: Any) -> Any:
        """Open a page in a new context; console messages and foreign requests fail the test."""
        self.complaints: list[str] = []
        self.addresses: set[str] = set()
        context = self.chromium.new_context(**options)
        self.addCleanup(context.close)
        page = context.new_page()
        page.on("console", lambda message: self.complaints.append(message.text))
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("request", lambda request: self.addresses.add(request.url))
        page.goto(f"{self.base}{path}", wait_until="domcontentloaded")
        return page

    @property
    def base(self) -> str:
        """The address of the router."""
        return f"http://{HOST}:{self.router.port}"

    def live(self, path: str = "/status", **options: Any) -> Any:
        """Open the page and wait until it updates itself."""
        page = self.open(path, **options)
        page.wait_for_selector("#live[data-state=live]", timeout=PATIENCE_MS)
        return page

    def assert_clean(self) -> None:
        """Check that the page requested no other host, and that the console is empty."""
        self.assertEqual(self.complaints, [])
        for address in self.addresses:
            self.assertTrue(address.startswith(f"{self.base}/status"), address)
        self.assertTrue(any("page.css" in each for each in self.addresses))

    def test_live(self) -> None:
        """The page shows a request without a reload, and keeps focus and open disclosures."""
        page = self.live()
        page.click("#models-more > summary")
        page.focus("[aria-labelledby=models-first-caption]")
        page.evaluate("window.same = document.querySelector('#models-more')")
        seen = _requests(page)
        _ask(self.router.port, "chutesai/AutoPilot")
        until(lambda: _requests(page) > seen)
        self.assertTrue(page.evaluate("window.same.isConnected && window.same.open"))
        focused = page.evaluate("document.activeElement.getAttribute('aria-labelledby')")
        self.assertEqual(focused, "models-first-caption")
        self.assert_clean()

    def test_workers(self) -> None:
        """The page of a router with workers shows each, updates itself, and fits a phone."""
        axe = import_module("axe_playwright_python.sync_playwright").Axe()
        ours = router(self.folder, self.stub.port, WORKERS="2")
        ours.start()
        self.addCleanup(ours.end)
        self.patch(type(self), "router", ours)
        until(lambda: _serves(ours.port))
        until(lambda: get_json(ours.port, "/status.json")["workers"]["serving"] == 2)
        page = self.live(viewport={"width": 390, "height": 900}, bypass_csp=True)
        self.assertEqual(page.locator("#workers tbody tr").count(), 2)
        seen = _requests(page)
        _ask(ours.port, "nobody/nothing")
        until(lambda: _requests(page) > seen)
        self.assertIn(page.locator("#requests tbody td").last.inner_text(), ("0", "1"))
        self.assertEqual(_outside(page, (390, 1300)), [])
        self.assertEqual(_violations(axe, page), [])
        page.screenshot(path=PICTURES / "status-workers.png", full_page=True)
        self.assert_clean()

    def test_ages_tick(self) -> None:
        """Ages increase while feeds hang, and restart when the feeds respond again."""
        page = self.live()
        fetch_json(self.stub.port, "/stub/feeds", {"models": "hang", "utilization": "hang"})
        try:
            until(lambda: "3 s" in page.locator("#numbers dd").first.inner_text())
        finally:
            fetch_json(self.stub.port, "/stub/reset", {})

    def test_without_script(self) -> None:
        """Without JavaScript the page is complete, and says how to update it."""
        page = self.open(java_script_enabled=False)
        self.assertIn("reload it", page.inner_text("#live"))
        self.assertEqual(page.locator("#models-first-caption").count(), 1)
        self.assertIn("is first", page.inner_text("#ranking"))
        self.assertEqual(page.locator("figure svg").count(), 2)
        self.assert_clean()

    def test_failures(self) -> None:
        """The view of failures needs no script; with one, updates keep it."""
        page = self.open(java_script_enabled=False)
        everything = page.locator("#requests .badge.good").count()
        self.assertGreater(everything, 0)
        page.click("text=Failures only")
        page.wait_for_url(f"{self.base}/status?show=failures#requests", timeout=PATIENCE_MS)
        self.assertGreater(page.locator("#requests .badge.bad").count(), 0)
        self.assertEqual(page.locator("#requests .badge.good").count(), 0)
        page.click("#requests nav >> text=All")
        page.wait_for_url(f"{self.base}/status#requests", timeout=PATIENCE_MS)
        self.assertEqual(page.locator("#requests .badge.good").count(), everything)
        page = self.live("/status?show=failures")
        seen = page.locator("#requests .badge.bad").count()
        _ask(self.router.port, "chutesai/AutoPilot")
        _ask(self.router.port, "nobody/nothing")
        until(lambda: page.locator("#requests .badge.bad").count() > seen)
        self.assertEqual(page.locator("#requests .badge.good").count(), 0)
        self.assert_clean()

    def test_scrolling_tables(self) -> None:
        """A table that does not fit scrolls in its own region, with a hint and a shadow."""
        page = self.live(viewport={"width": 390, "height": 900})
        for each in page.locator("section > .tables > .scroll").all():
            wider = each.evaluate("each => each.scrollWidth > each.clientWidth")
            self.assertTrue(wider)
            self.assertIn("gradient", each.evaluate("each => getComputedStyle(each).background"))
        hints = page.locator("section > .tables > .hint")
        self.assertEqual([each.is_visible() for each in hints.all()], [True] * hints.count())
        self.assertGreaterEqual(hints.count(), 2)
        page.set_viewport_size({"width": 1300, "height": 900})
        self.assertFalse(hints.first.is_visible())

    def test_private(self) -> None:
        """The keys of a private request are on the page, with the word for a test's roots."""
        page = self.live()
        shown = page.inner_text("#private")
        self.assertIn("PRIVATE=ask, test-roots", shown)
        self.assertIn("nothing on this page is attested", shown)
        self.assertEqual(page.locator("#private tbody tr").count(), 1)
        self.assertIn("UpToDate", shown)
        page.locator("#private").screenshot(path=PICTURES / "private.png")
        self.assert_clean()

    def test_start_page(self) -> None:
        """The page at / fits every width, has no finding of axe, and copies its examples."""
        axe = import_module("axe_playwright_python.sync_playwright").Axe()
        page = self.open("/", bypass_csp=True, color_scheme="dark")
        self.assertEqual(_outside(page, (390, 768, 1300)), [])
        self.assertEqual(_violations(axe, page), [])
        page = self.open("/", permissions=["clipboard-read", "clipboard-write"])
        page.screenshot(path=PICTURES / "start.png", full_page=True)
        for button, code in zip(
            page.locator("button").all(), page.locator("pre").all(), strict=True
        ):
            button.click()
            page.wait_for_function(
                "each => each.textContent === 'Copied'",
                arg=button.element_handle(),
                timeout=PATIENCE_MS,
            )
            copied = page.evaluate("navigator.clipboard.readText()")
            self.assertEqual(copied, code.text_content())
            self.assertIn(self.base, copied)
        # Without TLS, only localhost has the newer interface.
        page.evaluate("Object.defineProperty(navigator, 'clipboard', {value: undefined})")
        page.locator("button").last.focus()
        page.keyboard.press("Enter")
        self.assertEqual(
            page.evaluate("getSelection().toString()"), page.locator("pre").last.text_content()
        )
        self.assertEqual(self.complaints, [])
        page.click("text=Status of this router")
        self.assertEqual(page.url, f"{self.base}/status")

    def test_looks(self) -> None:
        """No overflow and no finding of axe, on phones and desktops, light and dark."""
        axe = import_module("axe_playwright_python.sync_playwright").Axe()
        for width in (360, 1440):
            for scheme in ("light", "dark"):
                page = self.live(
                    viewport={"width": width, "height": 900},
                    color_scheme=scheme,
                    reduced_motion="reduce",
                    # The test injects axe as a script, which the page's own policy rightly forbids.
                    bypass_csp=True,
                )
                self.assertEqual(_outside(page, (390, 768, 1300, width)), [])
                page.screenshot(path=PICTURES / f"status-{width}-{scheme}.png", full_page=True)
                background = page.evaluate("getComputedStyle(document.body).backgroundColor")
                dark = max(map(int, re.findall(r"\d+", background))) < 128
                self.assertEqual(dark, scheme == "dark")
                # Contrast depends on the scheme and layout on the width: two of the four runs of
                # axe, which take most of the time, cover both schemes and both widths.
                if (width, scheme) not in ((360, "dark"), (1440, "light")):
                    continue
                # All except the further models, whose rows are like the first.
                for each in page.locator("details:not(#models-more)").all():
                    each.evaluate("each => { each.open = true }")
                self.assertEqual(_violations(axe, page), [], f"{width} {scheme}")

    def test_keyboard(self) -> None:
        """Tab reaches every control, visibly, and Enter opens a disclosure."""
        page = self.live(viewport={"width": 1440, "height": 900})
        page.keyboard.press("Tab")
        self.assertEqual(page.evaluate("document.activeElement.textContent"), "Skip to the ranking")
        reached = []
        for _ in range(30):
            page.keyboard.press("Tab")
            name, outline = page.evaluate(
                "[document.activeElement.getAttribute('aria-labelledby') || "
                "document.activeElement.textContent, "
                "getComputedStyle(document.activeElement).outlineStyle]"
            )
            self.assertNotEqual(outline, "none", name)
            reached.append(name)
            if "more models" in name and "models-rest-caption" not in reached:
                page.keyboard.press("Enter")
            if name == "readyz":
                break
        for each in ("models-first-caption", "models-rest-caption", "recent-first-caption"):
            self.assertIn(each, reached)
        self.assertEqual(reached[-3:], ["status.json", "metrics", "readyz"])

    def test_lost(self) -> None:
        """If the router stops, the page says since when it has not been updated."""
        folder = self.folder / "other"
        folder.mkdir()
        other = router(folder, self.stub.port)
        other.start()
        self.addCleanup(other.end)
        until(lambda: _serves(other.port))
        page = self.chromium.new_page()
        self.addCleanup(page.close)
        page.goto(f"http://{HOST}:{other.port}/status")
        page.wait_for_selector("#live[data-state=live]", timeout=PATIENCE_MS)
        other.end()
        page.wait_for_selector("#live[data-state=lost]", timeout=PATIENCE_MS)
        self.assertIn("no connection since", page.inner_text("#live"))
        self.assertIn("Shutting down", page.inner_text("#state"))


def _processes(folder: Path) -> tuple[Process, Process]:
    platform = stub(folder, 0, f"--attestation-kit={KIT}")
    platform.start()
    ours = router(
        folder,
        platform.port,
        PRIVATE="ask",
        PRIVATE_COLLATERAL_URL=f"http://{HOST}:{platform.port}",
        PRIVATE_TEST_ROOTS=str(write_roots(folder)),
    )
    ours.start()
    until(lambda: _serves(ours.port))
    until(lambda: get_json(ours.port, "/status.json")["ready"])
    return platform, ours


def _outside(page: Any, widths: Iterable[int]) -> list[str]:
    """Return what reaches beyond the page at one of these widths, but for what scrolls."""
    found = []
    for width in widths:
        page.set_viewport_size({"width": width, "height": 900})
        found += page.evaluate(
            """width => [...document.body.querySelectorAll("*")].filter(each => {
              const box = each.getBoundingClientRect();
              const shown = each.checkVisibility() && !each.closest(".unseen, .skip, caption");
              const scrolls = each.parentElement.closest(".scroll");
              return shown && !scrolls && (box.right > width + 0.5 || box.left < -0.5);
            }).map(each => `${width}: ${each.outerHTML.slice(0, 120)}`)""",
            width,
        )
        if page.evaluate("document.documentElement.scrollWidth") > width:
            found.append(f"{width}: the page scrolls sideways")
    return found


def _violations(axe: Any, page: Any) -> list[tuple[str, list[str]]]:
    """Return axe's findings with their first elements."""
    return [
        (each["id"], [node["html"][:200] for node in each["nodes"][:3]])
        for each in axe.run(page, options=CONTRAST).response["violations"]
    ]


def _requests(page: Any) -> int:
    """Return the number of requests in the last half hour, as shown on the page."""
    return int(page.inner_text("#requests h2 small").split()[0])


def _serves(port: int) -> bool:
    connection = HTTPConnection(HOST, port, timeout=PATIENCE)
    try:
        connection.request("GET", "/healthz")
        return connection.getresponse().status == 200
    except OSError:
        return False
    finally:
        connection.close()


def _ask(port: int, model: str) -> None:
    """Make one request and read its response."""
    body = json.dumps({"model": model, "messages": [{"role": "user", "content": "?"}]})
    connection = HTTPConnection(HOST, port, timeout=PATIENCE)
    fields = {"Content-Type": "application/json", "Authorization": "Bearer cpk_a.b.c"}
    connection.request("POST", "/v1/chat/completions", body, fields)
    connection.getresponse().read()
    connection.close()
