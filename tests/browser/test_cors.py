"""A page of another origin in Chromium: it can read streams if its origin is allowed."""

from __future__ import annotations

import json
import shutil
import subprocess
from typing import Any

from twisted.trial.unittest import SkipTest, SynchronousTestCase

from tests.browser.pages import Pages
from tests.process.processes import Platform, Router
from tests.unit.relay.upstreams import DONE, STOP, chunk

_PATIENCE = 90.0
_SCRIPT = """
const send = (path, what) => fetch(path, {method: 'POST', body: JSON.stringify(what)});
const url = 'http://127.0.0.1:' + location.hash.slice(1) + '/v1/chat/completions';
const ask = model => fetch(url, {
  method: 'POST',
  headers: {
    'Authorization': 'Bearer key', 'Content-Type': 'application/json', 'X-Stainless-Lang': 'js',
  },
  body: JSON.stringify({model, stream: true}),
});
const report = {};
try {
  for (let tries = 0; tries < 100; tries += 1) {
    const ready = await fetch(url.replace('v1/chat/completions', 'readyz'));
    if (ready.ok) break;
    await new Promise(resolve => setTimeout(resolve, 100));
  }
  const refused = await ask('no/such');
  report.refused = [refused.status, (await refused.json()).error.code];
  const answer = await ask('chutesai/AutoPilot');
  report.headers = ['x-request-id', 'x-chutes-autopilot-selected'].map(
    name => Boolean(answer.headers.get(name)));
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  const first = await reader.read();
  report.first = first.value;
  await send('/first', report);
  report.rest = '';
  for (;;) {
    const {done, value} = await reader.read();
    if (done) break;
    report.rest += value;
  }
} catch (error) {
  report.error = error.name;
}
await send('/report', report);
"""


class CorsTests(SynchronousTestCase):
    """A router, a platform, a page, and a browser."""

    def setUp(self) -> None:
        """Start the platform and the pages."""
        found = shutil.which("chromium")
        if found is None:
            raise SkipTest("chromium is not installed; `make system` installs it as root on Debian")
        self.chromium = found
        self.platform = Platform(chunk(STOP + DONE) + chunk(b""))
        self.addCleanup(self.platform.close)
        self.pages = Pages(_SCRIPT)
        self.addCleanup(self.pages.close)

    def browse(self, **settings: str) -> None:
        """Start a router with these settings, and open the page."""
        router = Router(self.mktemp(), self.platform.port, **settings)
        self.addCleanup(router.close)
        browser = subprocess.Popen(
            (
                self.chromium,
                "--headless",
                "--no-sandbox",
                "--disable-gpu",
                "--disable-dev-shm-usage",
                "--no-first-run",
                f"--user-data-dir={self.mktemp()}",
                "--remote-debugging-port=0",
                f"http://localhost:{self.pages.port}/#{router.port()}",
            ),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        self.addCleanup(browser.wait)
        self.addCleanup(browser.terminate)

    def report(self) -> Any:
        """Return the next report of the page."""
        return self.pages.report(_PATIENCE)

    def test_allowed(self) -> None:
        """An allowed page reads error codes, header fields and each event as it arrives."""
        self.browse(CORS_ALLOW_ORIGINS=f"http://localhost:{self.pages.port}")
        first = self.report()
        self.assertNotIn("error", first)
        self.assertEqual(first["refused"], [400, "unknown_model"])
        self.assertEqual(first["headers"], [True, True])
        self.assertIn('"content":"hi"', first["first"])
        self.platform.go_on.set()
        last = self.report()
        self.assertTrue(last["rest"].endswith("data: [DONE]\n\n"), json.dumps(last))

    def test_not_allowed(self) -> None:
        """The browser hides every response from a page of another origin."""
        self.browse(CORS_ALLOW_ORIGINS="https://chat.example")
        self.assertEqual(self.report(), {"error": "TypeError"})

    def test_off(self) -> None:
        """The browser does the same if no origin is set."""
        self.browse()
        self.assertEqual(self.report(), {"error": "TypeError"})
