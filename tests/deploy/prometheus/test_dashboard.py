"""The Grafana dashboard: its queries use existing metrics, and its panels do not overlap."""

from __future__ import annotations

import json
import re
from itertools import combinations
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tests.deploy.prometheus.exported import samples
from tests.deploy.prometheus.expressions import mistakes
from tests.deploy.prometheus.promtool import ROOT, promtool

_FILE = ROOT / "deploy" / "grafana" / "chutes-autopilot.json"
_VARIABLES = {"$job": "chutes-autopilot", "$instance": ".+", "$__rate_interval": "5m"}


class DashboardTests(SynchronousTestCase):
    """``deploy/grafana``."""

    def setUp(self) -> None:
        """Read the dashboard."""
        self.dashboard: dict[str, Any] = json.loads(_FILE.read_text())
        self.panels = [each for each in self.dashboard["panels"] if each["type"] != "row"]

    def expressions(self) -> list[tuple[str, str]]:
        """Return each expression with the title of its panel, and with variables replaced."""
        pairs = []
        for panel in self.panels:
            for target in panel["targets"]:
                expression = target["expr"]
                for name, value in _VARIABLES.items():
                    expression = expression.replace(name, value)
                pairs.append((panel["title"], expression))
        return pairs

    def test_expressions(self) -> None:
        """Expressions use existing metrics and labels, and known variables."""
        for title, expression in self.expressions():
            self.assertEqual(mistakes(expression, samples()), [], title)
            self.assertNotIn("$", expression)

    def test_complete(self) -> None:
        """The dashboard uses every metric of the router; of two with one value, that in seconds."""
        text = " ".join(expression for _, expression in self.expressions())
        ours = {name for name in samples() if name.startswith("chutes_autopilot_")}
        stems = {re.sub("_(bucket|count|sum)$", "", name) for name in ours}
        for name in ("ready_snapshot_age", "ready_allowlist_age"):
            self.assertIn(f"chutes_autopilot_{name}_seconds", stems)
            stems.remove(f"chutes_autopilot_{name}_ms")
        self.assertEqual({stem for stem in stems if stem not in text}, set())

    def test_grammar(self) -> None:
        """Prometheus can parse each expression."""
        rules = [
            f"      - record: dashboard:panel:{number}\n        expr: {json.dumps(expression)}"
            for number, (_, expression) in enumerate(self.expressions())
        ]
        path = Path(self.mktemp()).absolute()
        head = "groups:\n  - name: dashboard\n    rules:\n"
        path.write_text(head + "\n".join(rules) + "\n")
        status, said = promtool("check", "rules", str(path))
        self.assertEqual(status, 0, said)

    def test_panels(self) -> None:
        """Each panel has its own id and place, a title, a description and a unit."""
        every = self.dashboard["panels"]
        self.assertEqual(len({panel["id"] for panel in every}), len(every))
        for panel in self.panels:
            self.assertTrue(panel["title"] and panel["description"], panel)
            self.assertTrue(panel["fieldConfig"]["defaults"]["unit"], panel["title"])
            for target in panel["targets"]:
                self.assertEqual(target["datasource"]["uid"], "${datasource}")
        for one, other in combinations(every, 2):
            self.assertFalse(_overlap(one["gridPos"], other["gridPos"]), (one, other))
        self.assertEqual(
            [each for each in every if each["gridPos"]["x"] + each["gridPos"]["w"] > 24], []
        )

    def test_variables(self) -> None:
        """The variables in expressions are defined, and independent of an installation."""
        names = [each["name"] for each in self.dashboard["templating"]["list"]]
        self.assertEqual(names, ["datasource", "job", "instance"])
        self.assertNotIn("id", self.dashboard)


def _overlap(one: dict[str, int], other: dict[str, int]) -> bool:
    apart = (
        one["x"] + one["w"] <= other["x"],
        other["x"] + other["w"] <= one["x"],
        one["y"] + one["h"] <= other["y"],
        other["y"] + other["h"] <= one["y"],
    )
    return not any(apart)
