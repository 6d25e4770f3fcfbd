"""Tests of what a router shows and logs of its routes."""

from __future__ import annotations

from pathlib import Path

from twisted.internet.testing import EventLoggingObserver
from twisted.logger import LogLevel, formatEvent, globalLogPublisher

from autopilot.web.shared_rendering import FRESHNESS
from tests.unit.relay.upstreams import whole
from tests.unit.wiring.cases import ALIAS, ONE, TWO, ReloadTestCase


class RoutesTests(ReloadTestCase):
    """The list of models, the operators' pages and the log."""

    def file(self, text: str) -> str:
        """Write a file of routes, and return its path."""
        path = Path(self.mktemp())
        path.write_text(text)
        return str(path)

    def test_counted(self) -> None:
        """A name with a suffix counts for its model, as its price does."""
        self.start()
        browser = self.ask(f"{ONE}:THINKING", stream=False)
        usage = b'{"prompt_tokens":7,"completion_tokens":2}'
        self.platform.wire.says(whole(200, b'{"choices":[{}],"usage":%b}' % usage))
        self.assertEqual(browser.response.status, 200)
        counted = self.get(b"/metrics").body.decode()
        for series in ('tokens_total{kind="prompt",', "selection_total{"):
            self.assertIn(f'chutes_autopilot_{series}model="{ONE}"', counted)
        self.assertNotIn('model="other"', counted)

    def test_shown(self) -> None:
        """Routes are models behind the alias, and on the operators' pages as what they are now."""
        observer = EventLoggingObserver()
        globalLogPublisher.addObserver(observer)
        self.addCleanup(globalLogPublisher.removeObserver, observer)
        text = f'[routes.mine]\nmodels = ["{TWO}", "gone"]\n[routes."{ONE}"]\nmodels = ["{ONE}"]\n'
        self.start(routes_file=self.file(text))
        listing = self.get(b"/v1/models").json["data"]
        self.assertEqual([each["id"] for each in listing], [ALIAS, "mine", ONE, TWO])
        owners = [each["owned_by"] == "chutes-autopilot" for each in listing]
        self.assertEqual(owners, [True, True, True, False])
        self.assertEqual(self.get(b"/v1/models/mine").json, listing[1])
        (mine, over) = self.get(b"/status.json").json["routes"]
        self.assertEqual((mine["name"], mine["models"]), ("mine", [TWO]))
        self.assertEqual((over["name"], over["models"]), (ONE, [ONE]))
        self.assertIn(b"Routes in the order of their file", self.get(b"/status").body)
        warned = [formatEvent(each) for each in observer if each["log_level"] is LogLevel.warn]
        lines = [each for each in warned if each.startswith("ROUTES_FILE")]
        self.assertEqual(
            lines,
            [
                (
                    "ROUTES_FILE: the catalog does not have 'gone' of the route 'mine'; the route"
                    " goes without it"
                ),
                (
                    f"ROUTES_FILE: the catalog has a model of the name of the route '{ONE}';"
                    " requests with that name get the route"
                ),
            ],
        )
        self.change(routes_file=None)
        self.assertEqual(self.get(b"/v1/models/mine").status, 404)
        self.reactor.advance(FRESHNESS)
        self.assertEqual(self.get(b"/status.json").json["routes"], [])
        self.change(routes_file=self.file('[routes.r]\nmodels = ["nix"]\n'))
        warned = [formatEvent(each) for each in observer if each["log_level"] is LogLevel.warn]
        self.assertIn("'nix' of the route 'r'", warned[-1] or "")
