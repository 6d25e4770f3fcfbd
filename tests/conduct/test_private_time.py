"""Private mode and the time of day: collateral that ends, verdicts that age, a wrong clock."""

from __future__ import annotations

import re

from twisted.logger import LogLevel

from tests.conduct.asking import body, code
from tests.conduct.private import NOW, PrivateTestCase, model
from tests.conduct.seen import WHOLE
from tests.conduct.served import question

DAY = 86_400.0
ENDS = 1782864000
"""When the collateral of 30 days ends."""


class TimeTests(PrivateTestCase):
    """The time of day, which decides what is verified."""

    def test_collateral_ends(self) -> None:
        """A stream that began before the collateral ended is complete, and no new one begins."""
        self.now = ENDS - 30.0
        served = self.serve(
            tokens=60,
            token_delay=1.0,
            before=lambda stub: stub.attestation.behave(collateral="fixed_30_days"),
        )
        running = served.begin(question(model("ok")))
        served.network.pass_time(40)
        self.assertGreater(self.time(), ENDS)
        answer = served.post(body(model("ok")))
        self.assertEqual((answer.status, code(answer)), (503, "private_unavailable"))
        self.assertEqual(len(served.invokes()), 1)
        (answer,) = served.finish(running)
        self.assertEqual((answer.status, answer.end, answer.tokens), (200, WHOLE, 60))

    def test_verdicts_age(self) -> None:
        """An instance is asked for evidence again after the time that a verdict lasts."""
        served = self.serve(private_attest_ttl_ms=30_000)
        ages = []
        for pause in (0, 10, 30):
            served.network.pass_time(pause)
            answer = served.post(body(model("ok")))
            self.assertEqual(answer.status, 200)
            ages.append(re.findall("age=([0-9]+);", answer.headers["x-chutes-autopilot-private"]))
        self.assertLess(max(int(age) for (age,) in ages), 30)
        self.assertGreaterEqual(int(ages[1][0]), 10)
        asked = [each.path.partition("?")[0] for each in served.stub.log if "nonce=" in each.path]
        self.assertGreater(len(asked), len(set(asked)))

    def test_wrong_clock(self) -> None:
        """A clock that is a day behind is named in one line, however many requests fail."""
        self.now, self.platform_ahead = NOW - DAY - 3600, DAY
        served = self.serve(before=lambda stub: stub.attestation.behave(collateral="fixed_30_days"))
        for _ in range(3):
            self.assertEqual(served.post(body(model("ok"))).status, 503)
            served.network.pass_time(61)
        lines = [text for level, text in self.logged.events if level >= LogLevel.warn]
        lines = [line for line in lines if "clock" in line]
        self.assertEqual(len(lines), 1, lines)
        self.assertEqual(served.invokes(), [])
