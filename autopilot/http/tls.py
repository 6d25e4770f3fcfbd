"""TLS to the upstream with less to do for each piece of an answer.

Twisted asks OpenSSL for decrypted bytes until an exception says that there are no more, and then
for bytes to send until another one says that there are none. For an event of a stream the two
exceptions cost more than its decryption. The framing of the records (RFC 8446, section 5.1) is
readable without any key, so how often there is something to ask for can be counted beforehand.

Whatever is not a read of whole records of application data goes Twisted's way, and all of it does
where one of the names used here, which are not public, is missing.
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

_HEADER = 5
_APPLICATION_DATA = 23
_LONGEST_RECORD = 2**15
_NEEDED = (
    "_aborted",
    "_appSendBuffer",
    "_flushReceiveBIO",
    "_handshakeDone",
    "_lostTLSConnection",
    "_tlsConnection",
)


class Records:
    """Follows the framing of TLS records through reads that cut them anywhere."""

    __slots__ = ("_header", "_missing")

    def __init__(self) -> None:
        self._header = b""
        self._missing = 0

    def whole(self, data: bytes) -> int:
        """How many records of application data ``data`` is.

        0 when it is anything else: if it begins or ends within a record, or holds another kind.
        """
        if not self._missing and not self._header:
            size = len(data)
            at = count = 0
            while size - at >= _HEADER and data[at] == _APPLICATION_DATA:
                at += _HEADER + (data[at + 3] << 8 | data[at + 4])
                count += 1
            if at == size:
                return count
        self._follow(data)
        return 0

    def _follow(self, data: bytes) -> None:
        at = 0
        while at < len(data):
            skipped = min(self._missing, len(data) - at)
            self._missing -= skipped
            at += skipped
            piece = data[at : at + _HEADER - len(self._header)]
            self._header += piece
            at += len(piece)
            if len(self._header) == _HEADER:
                self._missing = self._header[3] << 8 | self._header[4]
                self._header = b""


class TLS(TLSMemoryBIOProtocol):
    """The client's end of one TLS connection; what is written leaves at once."""

    def makeConnection(self, transport: Any) -> None:
        """See `IProtocol`."""
        self._records = Records()
        super().makeConnection(transport)
        self._quick = all(hasattr(self, name) for name in _NEEDED)

    def dataReceived(self, data: bytes) -> None:
        """See `IProtocol`."""
        count = self._records.whole(data)
        if count and self._quick and self._handshakeDone and not self._appSendBuffer:
            self._read(data, count)
        else:
            super().dataReceived(data)

    def _read(self, data: bytes, count: int) -> None:
        """Take in so many records.

        What OpenSSL may have to say to them, such as its share of a change of keys, waits for the
        next request, as it may.
        """
        connection = self._tlsConnection
        connection.bio_write(data)
        at_most = min(len(data), _LONGEST_RECORD)  # it is taken, cleared and filled at every read
        for _ in range(count):
            if self._aborted or self._lostTLSConnection:
                return
            try:
                plain = connection.recv(at_most)
            except Error:  # no data after all, the end, or worse: Twisted meets it again
                self._flushReceiveBIO()
                return
            assert self.wrappedProtocol is not None
            self.wrappedProtocol.dataReceived(plain)


class _Factory(TLSMemoryBIOFactory):
    protocol = TLS


@implementer(IStreamClientEndpoint)
class TLSEndpoint:
    """Connects over ``plain`` and speaks TLS there as ``options`` say."""

    def __init__(self, options: Any, plain: IStreamClientEndpoint, clock: IReactorTime) -> None:
        self._options = options
        self._plain = plain
        self._clock = clock

    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[IProtocol]:
        """See `IStreamClientEndpoint`."""
        factory = _Factory(self._options, True, protocolFactory, clock=self._clock)
        connecting: Deferred[Any] = self._plain.connect(factory)
        return connecting.addCallback(lambda protocol: protocol.wrappedProtocol)
