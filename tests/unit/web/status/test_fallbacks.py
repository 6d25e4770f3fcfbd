"""Tests of the section of other services."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from autopilot.routing.fallbacks import NO_FALLBACKS, Fallbacks
from autopilot.web.status.fallbacks import FallbackNow, fallbacks, fallbacks_now
from tests.unit.web.status.test_page import Reading, data, read
from tests.unit.web.status.values import facts

_OTHERS = Fallbacks.of((("x", ("a&b", "c"), "c"),))


class FallbacksTests(SynchronousTestCase):
    """The section."""

    def test_nothing(self) -> None:
        """A router without other services has neither section nor member."""
        self.assertEqual(fallbacks_now(NO_FALLBACKS), ())
        section = '<section id="fallbacks" hidden></section>'
        self.assertEqual(str(fallbacks((), {}, {}, {})), section)
        self.assertNotIn("fallbacks", data(facts("a")))
        self.assertNotIn("Other services", read(facts("a")).text)

    def test_models(self) -> None:
        """Each has its own measurements, and the default model is the last resort."""
        report = facts(
            "a",
            fallbacks=fallbacks_now(_OTHERS),
            cooling={"@x/a&b": 9.0},
            first_content={"@x/c": 0.25},
            throughput={"@x/c": 50.0},
        )
        self.assertIn("@x/a&b", read(report).text)
        known = report.fallbacks, report.cooling, report.first_content, report.throughput
        text = Reading(str(fallbacks(*known))).text
        self.assertIn("Other services 2 models", text)
        self.assertIn("@x/a&b–9.0 s––", text)
        self.assertIn("@x/cyes–250 ms50.0", text)
        self.assertEqual(
            data(report)["fallbacks"],
            [
                {"model": "@x/a&b", "last_resort": False},
                {"model": "@x/c", "last_resort": True},
            ],
        )

    def test_many(self) -> None:
        """The page shows some, the report all."""
        known = tuple(FallbackNow(f"@x/{number}", False) for number in range(210))
        report = facts("a", fallbacks=known)
        self.assertIn("and 10 more models", Reading(str(fallbacks(known, {}, {}, {}))).text)
        self.assertEqual(len(data(report)["fallbacks"]), 210)
