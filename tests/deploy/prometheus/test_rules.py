"""The alert rules: valid for Prometheus, based on existing metrics, and each tested."""

from __future__ import annotations

import re
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from autopilot.settings import Settings
from tests.deploy.prometheus.exported import samples
from tests.deploy.prometheus.expressions import mistakes
from tests.deploy.prometheus.promtool import ROOT, RULES, promtool

_ALERT = re.compile(r"- alert: (\w+)\n +expr: (?:>-\n)?(.+?)\n +(?:for|labels):", re.DOTALL)
_TRIED = re.compile(r"alertname: (\w+)\n +exp_alerts:( \[\])?")


def alerts() -> dict[str, str]:
    """Return each alert's expression."""
    return dict(_ALERT.findall((RULES / "alerts.yaml").read_text()))


class RulesTests(SynchronousTestCase):
    """``deploy/prometheus``."""

    def test_found(self) -> None:
        """The pattern finds every alert."""
        self.assertEqual(len(alerts()), (RULES / "alerts.yaml").read_text().count("- alert:"))

    def test_expressions(self) -> None:
        """The rules use metrics and labels that exist."""
        for name, expression in alerts().items():
            self.assertEqual(mistakes(expression, samples()), [], name)

    def test_tried(self) -> None:
        """The tests have each alert firing in one case and silent in another."""
        tried = _TRIED.findall((RULES / "alerts.test.yaml").read_text())
        self.assertEqual({name for name, quiet in tried if not quiet}, alerts().keys())
        unlike = {name for name, quiet in tried if quiet}
        self.assertEqual(alerts().keys() - unlike, {"AutopilotUnreadableRecords"})

    def test_runbooks(self) -> None:
        """Each alert links to its own section of the documentation."""
        text = (RULES / "alerts.yaml").read_text()
        sections = re.findall(r"^## (Autopilot\w+)$", _page("alerts.md").read_text(), re.MULTILINE)
        self.assertEqual(set(sections), alerts().keys())
        linked = re.findall(r"runbook_url: docs/alerts.md#(\w+)", text)
        self.assertEqual(linked, [name.lower() for name in alerts()])

    def test_thresholds(self) -> None:
        """The thresholds of stale feeds are those of the default settings."""
        example = (ROOT / ".env.example").read_text()
        expression = alerts()["AutopilotNotReady"]
        for name in ("READYZ_MAX_SNAPSHOT_AGE_MS", "READYZ_MAX_ALLOWLIST_AGE_MS"):
            found = re.search(rf"^#{name}=(\d+)$", example, re.MULTILINE)
            assert found is not None
            self.assertIn(f"> {found.group(1)}", expression)

    def test_target(self) -> None:
        """The example scrapes the operators' port of the default settings."""
        example = (RULES / "prometheus.yaml").read_text()
        self.assertIn(f'targets: ["{Settings().admin_listen_addr}"]', example)

    def test_accepted(self) -> None:
        """Prometheus accepts the rules and the example configuration."""
        status, said = promtool("check", "config", "deploy/prometheus/prometheus.yaml")
        self.assertEqual(status, 0, said)
        self.assertIn(f"{len(alerts())} rules found", said)

    def test_fire(self) -> None:
        """Prometheus evaluates the tests: alerts fire when they should, and only then."""
        status, said = promtool("test", "rules", "deploy/prometheus/alerts.test.yaml")
        self.assertEqual(status, 0, said)


def _page(name: str) -> Path:
    return ROOT / "docs" / name
