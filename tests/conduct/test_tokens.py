"""Tests that the sums of tokens are the platform's, whatever happens to a call."""

from __future__ import annotations

import os
from collections import Counter

from twisted.trial.unittest import SynchronousTestCase

from stub_backend.ledger import Told
from tests.conduct.traffic import make, router, traffic

SEED = 22
CALLS = int(os.environ.get("TOKEN_CALLS", "500"))


class SumsTests(SynchronousTestCase):
    """Five hundred random calls; `make tokens` makes ten thousand."""

    def test_sums(self) -> None:
        """Each client reads what the platform counted for its call, unless it left."""
        served = router()
        seen: Counter[str] = Counter()
        for call in traffic(SEED, CALLS):
            read = make(served, call)
            seen["left"] += read.client is None
            seen["failed over"] += read.attempts > 1
            seen["told nothing"] += read.platform == Told()
            # The router withholds the event by which a model gives up, and with it its usage.
            withheld = b"gave-up" in call.body
            if (
                read.client is not None
                and (read.attempts, read.status) == (1, 200)
                and not withheld
            ):
                self.assertEqual(read.client, read.platform, call)
                seen["compared"] += 1
        accounts = served.stub.ledger.accounts.values()
        seen["broken"] = sum(each.broken for each in accounts)
        seen["cancelled"] = sum(each.cancelled for each in accounts)
        seen["cached"] = sum(each.told.cached for each in accounts)
        # Each kind of call occurs often.
        kinds = ("left", "failed over", "told nothing", "compared", "broken", "cancelled", "cached")
        for kind in kinds:
            self.assertGreater(seen[kind], CALLS / 20, (kind, seen))
        self.assertEqual(served.left_behind(), [])
