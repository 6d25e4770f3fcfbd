"""Tests of the faults of the store: what each failure of a connection means."""

from __future__ import annotations

from OpenSSL.SSL import Error as TLSError
from service_identity import VerificationError
from twisted.internet.error import (
    ConnectError,
    ConnectingCancelledError,
    ConnectionDone,
    ConnectionRefusedError,
    DNSLookupError,
    NoRouteError,
    TCPTimedOutError,
    TimeoutError,
)
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from autopilot.state.sharing.store_fault import (
    TEXTS,
    StoreFault,
    StoreRefused,
    StoreUnavailable,
    fault_of,
)


class StoreFaultTests(SynchronousTestCase):
    """The closed set of faults."""

    def test_fault_of(self) -> None:
        """Each way to have no connection is one fault."""
        for error, fault in (
            (ConnectionRefusedError(), StoreFault.UNREACHED),
            (DNSLookupError(), StoreFault.UNREACHED),
            (NoRouteError(), StoreFault.UNREACHED),
            (ConnectError(), StoreFault.UNREACHED),
            (OSError(24, "too many open files"), StoreFault.UNREACHED),
            (TimeoutError(), StoreFault.SLOW),
            (TCPTimedOutError(), StoreFault.SLOW),
            (ConnectingCancelledError(None), StoreFault.SLOW),
            (TLSError([]), StoreFault.TLS),
            (VerificationError(errors=[]), StoreFault.TLS),
            (ConnectionDone(), StoreFault.CLOSED),
            (StoreUnavailable(StoreFault.DATABASE), StoreFault.DATABASE),
            (StoreRefused("NOPERM no"), StoreFault.FORBIDDEN),
        ):
            self.assertIs(fault_of(Failure(error)), fault, error)

    def test_texts(self) -> None:
        """Each fault has a text."""
        self.assertEqual(set(TEXTS), set(StoreFault))
