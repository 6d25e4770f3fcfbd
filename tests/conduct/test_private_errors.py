"""Each error of the platform on the way of a private request, and what the client gets of it."""

from __future__ import annotations

from stub_backend.sealed.refusals import REFUSALS, Stage
from tests.conduct.asking import code
from tests.conduct.private import MINUTE, PrivateTestCase, model
from tests.conduct.served import question

SAME = ""
"""The platform's own error, as without private mode."""

# Scenario: status, code, and the sealed calls that were made.
_UNAVAILABLE = 503, "private_unavailable"
INVOKED: dict[str, tuple[int, str, int]] = {
    "invoke-401": (401, SAME, 1),
    "invoke-422-header": (502, "private_reply_invalid", 1),
    "invoke-403-nonce": (*_UNAVAILABLE, 2),
    "invoke-404-gone": (*_UNAVAILABLE, 3),
    "invoke-404-chute": (*_UNAVAILABLE, 1),
    "invoke-400-moved": (*_UNAVAILABLE, 3),
    "invoke-410": (*_UNAVAILABLE, 3),
    "invoke-503-disabled": (*_UNAVAILABLE, 1),
    "invoke-402": (402, SAME, 1),
    "invoke-400-empty": (502, "private_reply_invalid", 1),
    "invoke-429-capacity": (*_UNAVAILABLE, 3),
    "invoke-429-all": (*_UNAVAILABLE, 3),
    "invoke-429-edge": (429, SAME, 1),
    "invoke-502": (*_UNAVAILABLE, 3),
    "invoke-403-instance": (400, "private_unsupported", 3),
    "invoke-404-instance": (*_UNAVAILABLE, 3),
    "invoke-422-instance": (400, "private_rejected", 1),
    "invoke-500-instance": (*_UNAVAILABLE, 3),
    "invoke-503-instance": (*_UNAVAILABLE, 3),
    "invoke-500": (*_UNAVAILABLE, 3),
    "invoke-400-unopened": (*_UNAVAILABLE, 3),
}
DISCOVERED: dict[str, tuple[int, str]] = {
    "discovery-401": (401, "private_unauthorized"),
    "discovery-404-chute": _UNAVAILABLE,
    "discovery-404-cold": _UNAVAILABLE,
    "discovery-404-no-key": _UNAVAILABLE,
    "discovery-429": _UNAVAILABLE,
}
_STREAM_ONLY = "invoke-400-stream-only"


class ErrorTests(PrivateTestCase):
    """One model for each, which always answers so."""

    def test_of_calls(self) -> None:
        """An error of a sealed call: as many instances as it takes, and never another way."""
        served = self.serve()
        for scenario, (status, own, calls) in INVOKED.items():
            with self.subTest(scenario):
                served.network.pass_time(MINUTE)
                before = len(served.invokes())
                answer = served.post(question(model(scenario)))
                self.assertEqual(answer.status, status)
                if own == SAME:
                    self.assertNotIn(b"private_", answer.body)
                else:
                    self.assertEqual(code(answer), own)
                    self.assertNotIn(b"detail", answer.body)
                self.assertEqual(len(served.invokes()) - before, calls)
                self.assertNotIn("x-chutes-autopilot-private", answer.headers)
                if own == _UNAVAILABLE[1]:
                    self.assertIn("retry-after", answer.headers)
        self.assertEqual(served.plain(), [])

    def test_of_discovery(self) -> None:
        """Without instances nothing is sent."""
        served = self.serve()
        for scenario, (status, own) in DISCOVERED.items():
            with self.subTest(scenario):
                served.network.pass_time(MINUTE)
                answer = served.post(question(model(scenario)))
                self.assertEqual((answer.status, code(answer)), (status, own))
        self.assertEqual((served.invokes(), served.plain()), ([], []))

    def test_stream_only(self) -> None:
        """A plain request that no instance answers gets an error that advises a stream."""
        served = self.serve()
        plain = question(model(_STREAM_ONLY)).replace(b'"stream": true', b'"stream": false')
        answer = served.post(plain)
        self.assertEqual((answer.status, code(answer)), (400, "private_unsupported"))
        self.assertEqual(len(served.invokes()), 3)
        self.assertEqual(served.post(question(model(_STREAM_ONLY))).status, 200)

    def test_all_of_them(self) -> None:
        """The tables have every error of the stub but those of evidence."""
        names = {each.name for each in REFUSALS if each.stage is not Stage.EVIDENCE}
        self.assertEqual(names, {*INVOKED, *DISCOVERED, _STREAM_ONLY})
