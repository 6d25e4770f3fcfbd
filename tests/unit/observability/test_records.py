"""Tests of what all outputs share of a record: its sets of outcomes, numbers and texts."""

from __future__ import annotations

import json

from twisted.trial.unittest import SynchronousTestCase

from autopilot.observability.records import (
    BROKEN,
    CLIENT_LEFT,
    FAILURES,
    OWN_ERRORS,
    UPSTREAM_FAULTS,
    Failover,
    Outcome,
    age_ms,
    cost_text,
    facts,
    failed_attempts,
    milliseconds,
    own_error,
    quoted,
    reasons,
    usage_text,
)
from autopilot.routing.failure_reason import FailureReason
from autopilot.routing.usage import PICODOLLARS, Usage
from tests.unit.observability.records import record

FAILED = (
    Failover("vendor/m:nitro", FailureReason("status_503"), 503, 12.5),
    Failover("other", FailureReason.CONNECT_REFUSED, None, 0.3),
)


class OutcomeTests(SynchronousTestCase):
    """How an exchange ended."""

    def test_sets(self) -> None:
        """Each outcome is a success, the upstream's own error, ours, the client's or a break."""
        rest = set(Outcome) - {Outcome.COMPLETED, Outcome.RELAYED_ERROR}
        self.assertEqual(OWN_ERRORS | CLIENT_LEFT | BROKEN, rest)
        self.assertEqual(len(OWN_ERRORS) + len(CLIENT_LEFT) + len(BROKEN), len(rest))
        self.assertEqual(BROKEN - UPSTREAM_FAULTS, {Outcome.SHUT_DOWN})
        self.assertEqual(FAILURES, set(Outcome) - {Outcome.COMPLETED})

    def test_own_error(self) -> None:
        """A request fails by the upstream or the router, and is refused for its own sake."""
        for status, outcome in (
            (400, Outcome.REFUSED),
            (429, Outcome.REFUSED),
            (500, Outcome.FAILED),
            (502, Outcome.FAILED),
            (503, Outcome.REFUSED),
            (504, Outcome.FAILED),
        ):
            self.assertIs(own_error(status), outcome, status)


class NumberTests(SynchronousTestCase):
    """Times."""

    def test_milliseconds(self) -> None:
        """Seconds become milliseconds, to a tenth."""
        for seconds, expected in (
            (0.0, 0.0),
            (0.00004, 0.0),
            (0.00006, 0.1),
            (1.23456, 1234.6),
            (86_400.0, 86_400_000.0),
        ):
            self.assertEqual(milliseconds(seconds), expected, seconds)

    def test_age(self) -> None:
        """Data has an age from its arrival on, and none before."""
        self.assertIsNone(age_ms(None, 10.0))
        self.assertEqual(age_ms(10.0, 10.0), 0.0)
        self.assertEqual(age_ms(10.0, 11.23456), 1234.6)


class TextTests(SynchronousTestCase):
    """The parts of a line of text."""

    def test_attempts(self) -> None:
        """Each failed attempt has reason, status or a dash, time and model, in this order."""
        failed = record(failovers=FAILED)
        self.assertEqual(reasons(failed), "status_503,connect_refused")
        self.assertEqual(
            failed_attempts(failed),
            "status_503:503:12.5ms:vendor/m:nitro,connect_refused:-:0.3ms:other",
        )
        self.assertEqual((reasons(record()), failed_attempts(record())), ("", ""))

    def test_usage(self) -> None:
        """Tokens are listed by kind; a kind that was not reported is left out, a zero is not."""
        for usage, expected in (
            (None, ""),
            (Usage(), ""),
            (Usage(7, 0, 3, None), "prompt:7,cached:0,completion:3"),
            (Usage(7, 2, 3, 1), "prompt:7,cached:2,completion:3,reasoning:1"),
        ):
            self.assertEqual(usage_text(record(usage=usage)), expected)

    def test_cost(self) -> None:
        """The cost is in dollars; one that is not known differs from nothing."""
        for cost, expected in ((None, ""), (0, "0"), (1, "0.000000000001"), (PICODOLLARS, "1")):
            self.assertEqual(cost_text(record(cost_picodollars=cost)), expected)

    def test_quoted(self) -> None:
        """A value can neither end its pair nor begin another one."""
        for bare in ("", "r1", "vendor/model:nitro", "a,b;c", "'"):
            self.assertEqual(quoted(bare), bare)
        for text in ("a b", 'a"b', "a=b", "a\nb", "a\tb", "a\u2028b", "\u00a0"):
            shown = quoted(text)
            self.assertEqual(json.loads(shown), text)
            self.assertTrue(shown.isascii() and shown.isprintable(), shown)


class FactsTests(SynchronousTestCase):
    """The record as plain values."""

    def test_facts(self) -> None:
        """They have every member by its name, and are nothing but JSON."""
        made = record(failovers=FAILED, usage=Usage(7), reason=FailureReason.CUT)
        found = facts(made)
        self.assertEqual(list(found), list(made.__struct_fields__))
        self.assertEqual(
            json.loads(json.dumps(found)), {**found, "failovers": list(found["failovers"])}
        )
        self.assertEqual((found["outcome"], found["reason"]), ("completed", "cut"))
        first, second = found["failovers"]
        self.assertEqual(
            first, {"model": "vendor/m:nitro", "reason": "status_503", "status": 503, "ms": 12.5}
        )
        self.assertIsNone(second["status"])
