"""Tests that the sums of tokens and cost are the platform's, whatever happens to a call."""

from __future__ import annotations

import os
from collections import Counter

from twisted.trial.unittest import SynchronousTestCase

from tests.conduct.traffic import Call, Read, counted, make, metered, router, traffic

SEED = 22
CALLS = int(os.environ.get("TOKEN_CALLS", "500"))


class SumsTests(SynchronousTestCase):
    """Five hundred random calls for each test; `make tokens` makes ten thousand."""

    def test_sums(self) -> None:
        """The router counts what the platform reported to it, and so does the client."""
        seen = self.play("observe")
        self.assertGreater(seen["read by the client"], CALLS / 25, seen)

    def test_requested_usage(self) -> None:
        """The router counts usage that it takes out again, because only the router asked for it."""
        seen = self.play("request")
        self.assertGreater(seen["not read by the client"], CALLS / 100, seen)

    def play(self, usage: str) -> Counter[str]:
        """Compare each call and all sums; return how many calls were of each kind."""
        served = router(usage)
        seen: Counter[str] = Counter()
        for call in traffic(SEED, CALLS):
            read = make(served, call)
            self.assertEqual(read.router, read.platform, call)
            seen["left"] += read.client is None
            seen["failed over"] += read.attempts > 1
            seen["several reported"] += len(read.platform) > 1
            seen["none reported"] += not read.platform
            if comparable(call, read):
                same = [read.client] == list(read.platform.values())
                self.assertTrue(same or usage == "request", (call, read))
                seen["read by the client" if same else "not read by the client"] += 1
        accounts = served.stub.ledger.accounts.values()
        seen["broken"] = sum(each.broken for each in accounts)
        seen["cancelled"] = sum(each.cancelled for each in accounts)
        seen["cached"] = sum(each.told.cached for each in accounts)
        often = ("left", "failed over", "several reported", "none reported", "broken", "cancelled")
        for kind in (*often, "cached"):
            self.assertGreater(seen[kind], CALLS / 25, (kind, seen))
        ledger = served.stub.ledger
        expected = {
            model: (counts, float(ledger.cost(model))) for model, counts in counted(served).items()
        }
        self.assertEqual(metered(served), expected)
        self.assertEqual(served.left_behind(), [])
        return seen


def comparable(call: Call, read: Read) -> bool:
    """Return whether the client should have read the same as the router."""
    # The router withholds the event by which a model gives up, and with it its usage.
    whole = read.client is not None and b"gave-up" not in call.body
    return whole and (read.attempts, read.status) == (1, 200) and bool(read.platform)
