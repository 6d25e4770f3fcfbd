"""TLS for upstream connections, with less overhead for each piece of a stream.

Twisted reads decrypted bytes from OpenSSL until an exception reports that there are no more, then
bytes to send until another one does. For one event of a stream these two exceptions cost more than
its decryption. The framing of TLS records (RFC 8446 §5.1) is readable without keys, so this module
counts the records first and reads exactly as often.

Everything except reads of whole application-data records takes Twisted's own way, and so does
everything if one of the undocumented attributes in ``_NEEDED`` is missing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from OpenSSL.SSL import Error
from twisted.internet.interfaces import IStreamClientEndpoint
from twisted.protocols.tls import TLSMemoryBIOFactory, TLSMemoryBIOProtocol
from zope.interface import implementer

if TYPE_CHECKING:
    from twisted.internet.defer import Deferred
    from twisted.internet.interfaces import IProtocol, IProtocolFactory, IReactorTime

# TLSCiphertext of RFC 8446 §5.1: type (1 byte), version (2), length (2), fragment.
_HEADER_BYTES = 5
_APPLICATION_DATA = 23
_MAX_READ = 2**15  # above the longest plaintext of a record, 2**14 bytes
_NEEDED = (
    "_aborted",
    "_appSendBuffer",
    "_flushReceiveBIO",
    "_handshakeDone",
    "_lostTLSConnection",
    "_tlsConnection",
)


class Records:
    """Tracks the framing of TLS records across reads that split them anywhere."""

    __slots__ = ("_header", "_missing")

    def __init__(self) -> None:
        self._header = b""
        self._missing = 0

    def whole(self, data: bytes) -> int:
        """Return how many records ``data`` holds if it is nothing but whole application data.

        Return 0 if it begins or ends within a record, or holds a record of another type.
        """
        if not self._missing and not self._header:
            size = len(data)
            at = count = 0
            while size - at >= _HEADER_BYTES and data[at] == _APPLICATION_DATA:
                at += _HEADER_BYTES + (data[at + 3] << 8 | data[at + 4])
                count += 1
            if at == size:
                return count
        self._follow(data)
        return 0

    def _follow(self, data: bytes) -> None:
        """Advance through ``data``, from wherever the previous read ended."""
        at = 0
        while at < len(data):
            skipped = min(self._missing, len(data) - at)
            self._missing -= skipped
            at += skipped
            piece = data[at : at + _HEADER_BYTES - len(self._header)]
            self._header += piece
            at += len(piece)
            if len(self._header) == _HEADER_BYTES:
                self._missing = self._header[3] << 8 | self._header[4]
                self._header = b""


class TLS(TLSMemoryBIOProtocol):
    """The client side of one TLS connection; writes leave at once."""

    def makeConnection(self, transport: Any) -> None:
        """See `IProtocol`."""
        self._records = Records()
        super().makeConnection(transport)
        self._countable = all(hasattr(self, name) for name in _NEEDED)

    def dataReceived(self, data: bytes) -> None:
        """See `IProtocol`."""
        count = self._records.whole(data)
        if count and self._countable and self._handshakeDone and not self._appSendBuffer:
            self._read(data, count)
        else:
            super().dataReceived(data)

    def _read(self, data: bytes, count: int) -> None:
        """Decrypt exactly ``count`` records.

        What OpenSSL may have to send in response, such as its own key update (RFC 8446 §4.6.3),
        goes out with the next request, which the protocol permits.
        """
        connection = self._tlsConnection
        connection.bio_write(data)
        at_most = min(len(data), _MAX_READ)  # each read allocates a buffer of this size
        for _ in range(count):
            if self._aborted or self._lostTLSConnection:
                return
            try:
                plain = connection.recv(at_most)
            except Error:  # no data, the end, or a failure: Twisted will get the same error
                self._flushReceiveBIO()
                return
            assert self.wrappedProtocol is not None
            self.wrappedProtocol.dataReceived(plain)


class _Factory(TLSMemoryBIOFactory):
    protocol = TLS


@implementer(IStreamClientEndpoint)
class TLSEndpoint:
    """Connects over the endpoint ``plain`` and speaks TLS there, configured by ``options``."""

    def __init__(self, options: Any, plain: IStreamClientEndpoint, clock: IReactorTime) -> None:
        self._options = options
        self._plain = plain
        self._clock = clock

    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[IProtocol]:
        """See `IStreamClientEndpoint`."""
        factory = _Factory(self._options, True, protocolFactory, clock=self._clock)
        connecting: Deferred[Any] = self._plain.connect(factory)
        return connecting.addCallback(lambda protocol: protocol.wrappedProtocol)
