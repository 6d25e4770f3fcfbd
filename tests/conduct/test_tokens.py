"""Tests that the sums of tokens and cost are the platform's, whatever happens to a call."""

from __future__ import annotations

import os
from collections import Counter

from twisted.trial.unittest import SynchronousTestCase

from tests.conduct.traffic import Call, Read, counted, make, metered, router, traffic

SEED = 22
CALLS = int(os.environ.get("TOKEN_CALLS", "500"))


class SumsTests(SynchronousTestCase):
    """Five hundred random calls; `make tokens` makes ten thousand."""

    def test_sums(self) -> None:
        """The router counts what the platform reported to it, for each call and in all."""
        served = router()
        seen: Counter[str] = Counter()
        for call in traffic(SEED, CALLS):
            read = make(served, call)
            self.assertEqual(read.router, read.platform, call)
            seen["left"] += read.client is None
            seen["failed over"] += read.attempts > 1
            seen["several reported"] += len(read.platform) > 1
            seen["none reported"] += not read.platform
            seen["read"] += self.compare(call, read)
        accounts = served.stub.ledger.accounts.values()
        seen["broken"] = sum(each.broken for each in accounts)
        seen["cancelled"] = sum(each.cancelled for each in accounts)
        seen["cached"] = sum(each.told.cached for each in accounts)
        # Each kind of call occurs often.
        self.assertEqual(len(seen), 8)
        for kind, count in seen.items():
            self.assertGreater(count, CALLS / 25, (kind, seen))
        ledger = served.stub.ledger
        expected = {
            model: (counts, float(ledger.cost(model))) for model, counts in counted(served).items()
        }
        self.assertEqual(metered(served), expected)
        self.assertEqual(served.left_behind(), [])

    def compare(self, call: Call, read: Read) -> bool:
        """Compare what the client read, if all of it is from one attempt."""
        # The router withholds the event by which a model gives up, and with it its usage.
        if read.client is None or b"gave-up" in call.body:
            return False
        if (read.attempts, read.status) != (1, 200) or not read.platform:
            return False
        self.assertEqual([read.client], list(read.platform.values()), call)
        return True
