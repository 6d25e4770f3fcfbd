"""Tests of the remedies: one for each reason, complete and told apart."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from autopilot.cli import remedies
from autopilot.cli.handshake import HandshakeFault
from autopilot.cli.remedies import ConnectFault, NameFault
from autopilot.http.fetch_error import (
    INTERNAL,
    JSON,
    NETWORK,
    OK,
    OUTCOMES,
    SHAPE,
    STATUS,
    FetchError,
    FetchFault,
)

_NOON = 43200.0


class RemedyTests(SynchronousTestCase):
    """The texts."""

    def assert_sentences(self, texts: list[str]) -> None:
        """Assert that each is a whole sentence for people, and differs from the others."""
        for text in texts:
            self.assertRegex(text, r"\A[A-Z`][^{}\n]+\.\Z")
        self.assertEqual(len(set(texts)), len(texts))

    def test_names(self) -> None:
        """Each reason why a name has no address has its own."""
        self.assert_sentences([remedies.of_name(each, "X_URL", "P") for each in NameFault])
        self.assertIn("X_URL", remedies.of_name(NameFault.UNKNOWN, "X_URL", "P"))

    def test_connections(self) -> None:
        """Each reason has its own; to a proxy, all lead to the proxy's setting."""
        texts = [
            remedies.of_connection(each, "X_URL", "P", through_proxy=False) for each in ConnectFault
        ]
        self.assert_sentences(texts)
        through = {
            remedies.of_connection(each, "X_URL", "HTTPS_PROXY", through_proxy=True)
            for each in ConnectFault
        }
        self.assertEqual(len(through), 1)
        self.assertIn("HTTPS_PROXY", through.pop())

    def test_handshakes(self) -> None:
        """Each reason has its own, but those of the proxy, whose text has the status."""
        faults = [each for each in HandshakeFault if each is not HandshakeFault.PROXY]
        texts = [
            remedies.of_handshake(each, "X_URL", "P", _NOON, own_authority=False) for each in faults
        ]
        self.assert_sentences(texts)
        untrusted = HandshakeFault.UNTRUSTED
        self.assertNotIn(
            remedies.of_handshake(untrusted, "X_URL", "P", _NOON, own_authority=True), texts
        )
        clock = remedies.of_handshake(
            HandshakeFault.NOT_YET_VALID, "X_URL", "P", _NOON, own_authority=False
        )
        self.assertIn("1970-01-01 12:00 UTC", clock)

    def test_fetches(self) -> None:
        """Each fault, outcome and status of a fetch has its own."""
        faults = [remedies.of_fetch(FetchError(NETWORK, "", fault=f), "X_URL") for f in FetchFault]
        self.assert_sentences(faults)
        outcomes = [
            remedies.of_fetch(FetchError(each, ""), "X_URL")
            for each in sorted(OUTCOMES - {OK, JSON, NETWORK})
        ]
        self.assert_sentences(outcomes)
        shape = remedies.of_fetch(FetchError(SHAPE, ""), "X_URL")
        self.assertIn("X_URL leads to another page", shape)
        self.assertIn("report it", remedies.of_fetch(FetchError(INTERNAL, ""), "X_URL"))
        statuses = [
            remedies.of_fetch(FetchError(STATUS, "", status=each), "X_URL")
            for each in (302, 401, 403, 404, 407, 418, 429, 503)
        ]
        self.assert_sentences(statuses)
