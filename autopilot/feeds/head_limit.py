"""A size limit on response heads, which Twisted's HTTP client lacks.

The client stores every header line until the head ends. A feed that sends nothing but header lines
would fill hundreds of megabytes before the fetch times out.
"""

from __future__ import annotations

import re
from typing import Any, Final

MAX_HEAD_BYTES: Final = 65536

_END = re.compile(rb"\n\r?\n")
_INTERIM = re.compile(rb"\S+ +1\d\d\b")


def limit_head(protocol: Any) -> Any:
    """Make `protocol` abort its connection if a response head exceeds `MAX_HEAD_BYTES`."""
    _HeadLimiter(protocol)
    return protocol


class _HeadLimiter:
    """Intercepts `dataReceived` until the head of the final response ends."""

    def __init__(self, protocol: Any) -> None:
        self._protocol = protocol
        self._deliver = protocol.dataReceived
        self._head = b""
        protocol.dataReceived = self._received

    def _received(self, data: bytes) -> None:
        """Deliver `data` unless the head is too long; remove the interception after the head."""
        self._head += data
        # Interim (1xx) responses precede the final one (RFC 9110 §15.2); each has a head of its
        # own.
        while (end := _END.search(self._head)) and _INTERIM.match(self._head):
            self._head = self._head[end.end() :]
        if end:
            del self._protocol.dataReceived
        elif len(self._head) > MAX_HEAD_BYTES:
            self._protocol.transport.abortConnection()
            return
        self._deliver(data)
