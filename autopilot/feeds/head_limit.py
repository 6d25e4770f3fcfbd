"""A limit on the head of a response, which Twisted's HTTP client does not have.

It keeps every line of a head for as long as the head goes on: a feed that sends nothing else would
take hundreds of megabytes until its time is over.
"""

from __future__ import annotations

import re
from typing import Any, Final

MAX_HEAD_BYTES: Final = 65536

_END = re.compile(rb"\n\r?\n")
_INTERIM = re.compile(rb"\S+ +1\d\d\b")


def limit_head(protocol: Any) -> Any:
    """Break the connection of `protocol` off when the head that it reads is too long."""
    _Head(protocol)
    return protocol


class _Head:
    """Sees what arrives before the protocol does, until the head of the final response is over."""

    def __init__(self, protocol: Any) -> None:
        self._protocol = protocol
        self._deliver = protocol.dataReceived
        self._head = b""
        protocol.dataReceived = self._received

    def _received(self, data: bytes) -> None:
        self._head += data
        while (end := _END.search(self._head)) and _INTERIM.match(self._head):
            self._head = self._head[end.end() :]
        if end:
            del self._protocol.dataReceived
        elif len(self._head) > MAX_HEAD_BYTES:
            self._protocol.transport.abortConnection()
            return
        self._deliver(data)
