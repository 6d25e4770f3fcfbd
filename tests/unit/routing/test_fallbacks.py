"""Tests of the names of other services' models."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from autopilot.routing.candidate import Candidate
from autopilot.routing.fallbacks import NO_FALLBACKS, Fallbacks

_OTHERS = Fallbacks.of((("x", ("a/b", "c"), "c"), ("y", ("c",), None), ("z", ("d",), "d")))


class FallbacksTests(SynchronousTestCase):
    """What a name means."""

    def test_find(self) -> None:
        """The name of the service, and the model in its own words, exactly."""
        expected = Candidate("@x/a/b", origin="x", sent="a/b")
        self.assertEqual(_OTHERS.find("@x/a/b"), expected)
        self.assertEqual(_OTHERS.find("@x/a/b:latency"), expected)
        for name in ("@x/A/b", "@X/a/b", "x/a/b", "@x", "@x/", "@y/a/b", "@", ""):
            self.assertIsNone(_OTHERS.find(name))

    def test_own_suffix(self) -> None:
        """A model that the service itself names like an order is meant by its whole name."""
        others = Fallbacks.of((("x", ("m", "m:latency"), "m:latency"),))
        expected = Candidate("@x/m:latency", origin="x", sent="m:latency")
        self.assertEqual(others.find("@x/m:latency"), expected)
        self.assertEqual(others.resort, (expected,))

    def test_claims(self) -> None:
        """With a file no name with the mark is the platform's; without one all are."""
        for name in ("@x/a/b", "@nobody/x", "@"):
            self.assertTrue(_OTHERS.claims(name))
            self.assertFalse(NO_FALLBACKS.claims(name))
        self.assertFalse(_OTHERS.claims("acme/@x"))

    def test_resort(self) -> None:
        """The default models, in the order of the file."""
        self.assertEqual([each.model for each in _OTHERS.resort], ["@x/c", "@z/d"])
        self.assertEqual(NO_FALLBACKS.resort, ())

    def test_identity(self) -> None:
        """They are keys of what is cached by them."""
        self.assertEqual(len({_OTHERS, NO_FALLBACKS, _OTHERS}), 2)
