"""Tests of the lines about readiness."""

from __future__ import annotations

from twisted.internet.testing import EventLoggingObserver
from twisted.logger import formatEvent, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase

from autopilot.feeds.readiness import Readiness
from autopilot.feeds.readiness_log import ReadinessLog


class ReadinessLogTests(SynchronousTestCase):
    """What is logged after which refresh."""

    def setUp(self) -> None:
        """Observe the log."""
        self.observer = EventLoggingObserver()
        globalLogPublisher.addObserver(self.observer)
        self.addCleanup(globalLogPublisher.removeObserver, self.observer)
        self.log = ReadinessLog()

    def logged(self, code: str | None, *, failed: bool = False) -> list[str]:
        """Return the new lines after a refresh that left this reason not to be ready, or none."""
        before = len(list(self.observer))
        verdict = Readiness(503 if code else 200, code, f"Because of {code}.", 2, ())
        self.log.note(verdict, "acme/one", failed=failed)
        return [str(formatEvent(event)) for event in list(self.observer)[before:]]

    def test_ready(self) -> None:
        """The first refresh that makes it ready is one line, with the best model."""
        self.assertEqual(self.logged("missing_snapshot"), [])
        self.assertEqual(self.logged(None), ["Ready: 2 models, best acme/one"])
        self.assertEqual(self.logged(None), [])

    def test_not_ready(self) -> None:
        """A failed first refresh says what is missing, once; so does one that ends readiness."""
        expected = "Not ready: Because of {}. Single models and lists are relayed all the same."
        absent = expected.format("missing_allowlist")
        self.assertEqual(self.logged("missing_allowlist", failed=True), [absent])
        self.assertEqual(self.logged("missing_allowlist", failed=True), [])
        self.assertEqual(len(self.logged(None)), 1)
        stale = expected.format("stale_snapshot")
        self.assertEqual(self.logged("stale_snapshot", failed=True), [stale])
        self.assertEqual(self.logged("stale_snapshot", failed=True), [])
        self.assertEqual(len(self.logged(None)), 1)
        self.assertEqual(self.logged("allowlist_empty"), [expected.format("allowlist_empty")])

    def test_private(self) -> None:
        """Where every request is private, the line does not say that some are relayed."""
        self.assertEqual(len(self.logged(None)), 1)
        self.assertEqual(
            self.logged("private_unready"),
            ["Not ready: Because of private_unready. Requests get 503 until then."],
        )

    def test_private_at_the_start(self) -> None:
        """What private mode needs may come after the feeds, but not much later."""
        line = "Not ready: Because of private_unready. Requests get 503 until then."
        self.assertEqual(self.logged("missing_snapshot"), [])
        self.assertEqual(self.logged("private_unready"), [])
        self.assertEqual(self.logged("private_unready"), [line])
        self.assertEqual(self.logged("private_unready"), [])
        self.assertEqual(len(self.logged(None)), 1)

    def test_draining(self) -> None:
        """A stop is no loss of readiness to warn of."""
        self.assertEqual(len(self.logged(None)), 1)
        self.assertEqual(self.logged("draining", failed=True), [])
