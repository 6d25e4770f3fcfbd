"""How long the router waits for a model that says nothing, as its clients see it."""

from __future__ import annotations

import json

from twisted.trial.unittest import SynchronousTestCase

from tests.conduct.seen import WHOLE, Seen
from tests.conduct.served import QUESTION, TOKEN_DELAY, Served

SILENT, SECOND = "stub/ok-vllm", "stub/ok"
# The second model's own time.
_ANSWER = 60 * TOKEN_DELAY


class PlainTests(SynchronousTestCase):
    """Requests for answers that are not streams."""

    def ask(self, served: Served, models: str, **members: object) -> Seen:
        """Ask for a plain answer."""
        messages = [{"role": "user", "content": QUESTION}]
        body = {"model": models, "messages": messages, **members}
        return served.post(json.dumps(body).encode())

    def test_silent(self) -> None:
        """The next model answers after three minutes, under either dial."""
        for commit in ("content", "complete"):
            served = Served(commit=commit)
            served.stub.script(SILENT, [], then="hang-head")
            seen = self.ask(served, f"{SILENT},{SECOND}")
            self.assertEqual((seen.status, seen.end), (200, WHOLE))
            self.assertEqual(json.loads(seen.body)["model"], SECOND)
            self.assertEqual(seen.headers["x-chutes-autopilot-selected"], SECOND)
            self.assertApproximates(seen.seconds, 180.0 + _ANSWER, 0.1)
            (record,) = served.records
            self.assertEqual([each.reason for each in record.failovers], ["plain_timeout"])
            self.assertTrue(served.calls(SILENT)[0].aborted)
            self.assertEqual(served.left_behind(), [])

    def test_long_answers(self) -> None:
        """A request that allows for a long answer leaves the model the time for it."""
        served = Served()
        served.stub.script(SILENT, [], then="hang-head")
        seen = self.ask(served, f"{SILENT},{SECOND}", max_tokens=6000)
        self.assertApproximates(seen.seconds, 240.0 + _ANSWER, 0.1)

    def test_setting(self) -> None:
        """The time is a setting."""
        served = Served(plain_failover_after_ms=20_000)
        served.stub.script(SILENT, [], then="hang-head")
        seen = self.ask(served, f"{SILENT},{SECOND}")
        self.assertApproximates(seen.seconds, 20.0 + _ANSWER, 0.1)

    def test_alone(self) -> None:
        """Without another model there is the full time."""
        served = Served()
        served.stub.script(SILENT, [], then="hang-head")
        seen = self.ask(served, SILENT)
        self.assertEqual((seen.status, seen.code), (504, "upstream_header_timeout"))
        self.assertApproximates(seen.seconds, 600.0, 0.1)
