"""Which verdict ends the wait for a verified key, and what happens to the others."""

from __future__ import annotations

from twisted.internet.defer import CancelledError, Deferred
from twisted.trial.unittest import SynchronousTestCase

from autopilot.attestation.first_verified import first_verified
from autopilot.attestation.verdict import Refusal
from autopilot.attestation.verdicts import Verdict
from tests.unit.attestation.fake_instances import FOUND

VERIFIED = Verdict(FOUND, 0.0, 60.0, 30.0)
REFUSED = Verdict(Refusal.GPU_NONCE, 0.0, 60.0, 30.0)


class FirstVerifiedTests(SynchronousTestCase):
    """Three verdicts that the test gives."""

    def setUp(self) -> None:
        """Wait for them."""
        self.cancelled: list[str] = []
        self.waiting = {name: self.verdict(name) for name in "abc"}
        self.ended: dict[str, Verdict] = {}
        self.first = first_verified(self.waiting, self.ended)

    def verdict(self, name: str) -> Deferred[Verdict]:
        """Return a verdict to come, whose cancellation is noted."""
        return Deferred(lambda _: self.cancelled.append(name))

    def test_verified(self) -> None:
        """The first verified one ends the wait, and the others are cancelled."""
        self.waiting["b"].callback(REFUSED)
        self.assertNoResult(self.first)
        self.waiting["c"].callback(VERIFIED)
        self.assertIsNone(self.successResultOf(self.first))
        self.assertEqual(self.ended, {"b": REFUSED, "c": VERIFIED})
        self.assertEqual(self.cancelled, ["a"])

    def test_none(self) -> None:
        """Without a verified one it waits for all."""
        for name in "ab":
            self.waiting[name].callback(REFUSED)
            self.assertNoResult(self.first)
        self.waiting["c"].callback(REFUSED)
        self.successResultOf(self.first)
        self.assertEqual(set(self.ended), set("abc"))
        self.assertEqual(self.cancelled, [])

    def test_failure(self) -> None:
        """One that fails ends the wait as it failed, and cancels the others."""
        self.waiting["a"].callback(REFUSED)
        self.waiting["b"].errback(ValueError("canary"))
        self.failureResultOf(self.first, ValueError)
        self.assertEqual(self.ended, {"a": REFUSED})
        self.assertEqual(self.cancelled, ["c"])

    def test_cancelled(self) -> None:
        """Cancelling the wait cancels all that have not ended."""
        self.waiting["a"].callback(REFUSED)
        self.first.cancel()
        self.failureResultOf(self.first, CancelledError)
        self.assertEqual(sorted(self.cancelled), ["b", "c"])

    def test_known(self) -> None:
        """One that is verified already spares the wait; later ones are neither noted nor kept."""
        waiting = {"a": self.verdict("x"), "b": self.verdict("y")}
        waiting["a"].callback(VERIFIED)
        ended: dict[str, Verdict] = {}
        self.successResultOf(first_verified(waiting, ended))
        self.assertEqual(ended, {"a": VERIFIED})
        self.assertEqual(self.cancelled, ["y"])
