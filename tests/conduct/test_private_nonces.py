"""Many private requests at once: every nonce is used once, and instances share the work."""

from __future__ import annotations

from collections import Counter

from tests.conduct.asking import body
from tests.conduct.private import PrivateTestCase, model

REQUESTS = 200


class NonceTests(PrivateTestCase):
    """200 requests of one client at the same moment."""

    def test_no_nonce_twice(self) -> None:
        """Each has a nonce of its own, of four discoveries, and each is answered."""
        served = self.serve(tokens=2)
        answers = served.finish(*(served.begin(body(model("ok"))) for _ in range(REQUESTS)))
        self.assertEqual({each.status for each in answers}, {200})
        calls = served.invokes()
        self.assertEqual(len(calls), REQUESTS)
        self.assertEqual(len({each.header("x-e2e-nonce") for each in calls}), REQUESTS)
        self.assertEqual({each.status for each in calls}, {200})
        self.assertEqual(len(served.discoveries()), REQUESTS // 50)
        by_instance = Counter(each.header("x-instance-id") for each in calls)
        self.assertGreaterEqual(len(by_instance), 5)
        self.assertLessEqual(max(by_instance.values()), 4 * 10)
        self.assertEqual(served.plain(), [])
        self.assertEqual(served.left_behind(), [])
