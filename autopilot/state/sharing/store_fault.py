"""The faults of the store of shared state, as the log, the metrics and /status name them."""

from __future__ import annotations

import re
from enum import StrEnum
from typing import Final

from OpenSSL.SSL import Error as TLSError
from service_identity import CertificateError, VerificationError
from twisted.internet.error import (
    ConnectBindError,
    ConnectError,
    ConnectingCancelledError,
    DNSLookupError,
    TCPTimedOutError,
    TimeoutError,
)
from twisted.python.failure import Failure


class StoreFault(StrEnum):
    """What keeps the store from its work; a closed set."""

    UNREACHED = "unreached"
    TLS = "tls"
    CLOSED = "closed"
    SLOW = "slow"
    PROTOCOL = "protocol"
    CREDENTIALS = "credentials"
    DATABASE = "database"
    LOADING = "loading"
    BUSY = "busy"
    FULL = "full"
    READ_ONLY = "read_only"
    FORBIDDEN = "forbidden"
    REFUSED = "refused"
    QUEUE = "queue"
    STOPPED = "stopped"


TEXTS: Final = {
    StoreFault.UNREACHED: "no connection to it; check the host, the port and that it runs",
    StoreFault.TLS: (
        "TLS failed; check that it speaks TLS, its certificate's name, and UPSTREAM_CA_FILE"
    ),
    StoreFault.CLOSED: "it closed the connection",
    StoreFault.SLOW: "it does not answer in time",
    StoreFault.PROTOCOL: "it does not answer as Redis or Valkey; check the port",
    StoreFault.CREDENTIALS: "it refuses the user or the password",
    StoreFault.DATABASE: "it refuses the database; check its number and the user's rights",
    StoreFault.LOADING: "it is still loading its data",
    StoreFault.BUSY: "a script or a fail-over keeps it busy",
    StoreFault.FULL: "it has no memory or disk left for a write",
    StoreFault.READ_ONLY: "it is a read-only replica",
    StoreFault.FORBIDDEN: "the user may not use a command, a key or a channel",
    StoreFault.REFUSED: "it refuses a command",
    StoreFault.QUEUE: "too many commands wait for its answers",
    StoreFault.STOPPED: "the router has not connected to it",
}
"""Each fault in words, after "the store: "."""

_BY_CODE: Final = {
    "WRONGPASS": StoreFault.CREDENTIALS,
    "NOAUTH": StoreFault.CREDENTIALS,
    "NOPERM": StoreFault.FORBIDDEN,
    "LOADING": StoreFault.LOADING,
    "MASTERDOWN": StoreFault.LOADING,
    "BUSY": StoreFault.BUSY,
    "TRYAGAIN": StoreFault.BUSY,
    "CLUSTERDOWN": StoreFault.BUSY,
    "NOREPLICAS": StoreFault.BUSY,
    "OOM": StoreFault.FULL,
    "MISCONF": StoreFault.FULL,
    "READONLY": StoreFault.READ_ONLY,
}
_CODE = re.compile(r"[A-Z]{2,20}(?= |$)")


class StoreUnavailable(Exception):  # noqa: N818  a state of the store, not of the program
    """A command failed because the store cannot be reached, or did not answer in time."""

    def __init__(self, fault: StoreFault) -> None:
        super().__init__(f"the store: {TEXTS[fault]}")
        self.fault = fault


class StoreRefused(Exception):  # noqa: N818  as above
    """The store answered a command with an error.

    Only the first word of its text is kept: the rest may quote what was sent.
    """

    def __init__(self, text: str) -> None:
        match = _CODE.match(text)
        self.code = "" if match is None else match[0]
        self.fault = _BY_CODE.get(self.code, StoreFault.REFUSED)
        super().__init__(f"the store: {TEXTS[self.fault]} ({self.code or 'unknown error'})")


def fault_of(failure: Failure) -> StoreFault:
    """Return the fault behind a connection that was not made, or that was lost."""
    value = failure.value
    if isinstance(value, StoreUnavailable | StoreRefused):
        return value.fault
    if isinstance(value, TimeoutError | TCPTimedOutError | ConnectingCancelledError):
        return StoreFault.SLOW
    if isinstance(value, DNSLookupError | ConnectError | ConnectBindError | OSError):
        return StoreFault.UNREACHED
    if isinstance(value, TLSError | VerificationError | CertificateError):
        return StoreFault.TLS
    return StoreFault.CLOSED
