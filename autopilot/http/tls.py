"""TLS for upstream connections, with less overhead for each piece of a stream.

Twisted reads decrypted bytes from OpenSSL until an exception reports that there are no more, then
bytes to send until another one does. For one event of a stream these two exceptions cost more than
its decryption. The framing of TLS records (RFC 8446 §5.1) is readable without keys, so this module
counts the records first and reads exactly as often. It also calls OpenSSL's functions itself, into
one buffer of each factory or endpoint: pyOpenSSL allocates another one for each read, and asks
OpenSSL for the error of calls that have none.

All else takes Twisted's own way: what is no whole record of application data, a write that does not
fit into one record, and each call of OpenSSL that fails. That call is repeated there and gets the
same error: the failed one leaves OpenSSL's queue of errors as it is, for pyOpenSSL to read and
empty. Everything takes Twisted's way if one of the undocumented names in ``_NEEDED``,
``_CONNECTION`` and ``_FUNCTIONS`` is missing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from OpenSSL import SSL
from twisted.internet.interfaces import IStreamClientEndpoint
from twisted.protocols.tls import TLSMemoryBIOFactory, TLSMemoryBIOProtocol
from zope.interface import implementer

if TYPE_CHECKING:
    from twisted.internet.defer import Deferred
    from twisted.internet.interfaces import IProtocol, IProtocolFactory, IReactorTime

# TLSCiphertext of RFC 8446 §5.1: type (1 byte), version (2), length (2), fragment.
_HEADER_BYTES = 5
_APPLICATION_DATA = 23
_MAX_PLAIN = 2**14  # the longest plaintext of a record
_MAX_READ = 2**15  # what Twisted reads at once of records to be sent
_NEEDED = (
    "_aborted",
    "_appSendBuffer",
    "_handshakeDone",
    "_lostTLSConnection",
    "_tlsConnection",
)
_CONNECTION = ("_ssl", "_into_ssl", "_from_ssl")
_FUNCTIONS = ("BIO_read", "BIO_write", "SSL_read", "SSL_write")

# OpenSSL's functions, by which pyOpenSSL calls them.
_ffi: Any = getattr(SSL, "_ffi", None)
_lib: Any = getattr(SSL, "_lib", None)


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
    """One side of a TLS connection; writes leave at once.

    The ``buffer`` of its factory may be shared by all connections of a thread: whatever is in it is
    copied before anything else runs.
    """

    _direct = False  # the wrapped protocol may write as soon as it is connected

    def makeConnection(self, transport: Any) -> None:
        """See `IProtocol`."""
        self._records = Records()
        self._buffer = getattr(self.factory, "buffer", None)
        super().makeConnection(transport)
        own = getattr(self, "_tlsConnection", None)
        self._direct = (
            all(hasattr(self, name) for name in _NEEDED)
            and all(hasattr(own, name) for name in _CONNECTION)
            and self._buffer is not None
        )

    def dataReceived(self, data: bytes) -> None:
        """See `IProtocol`: decrypt exactly as many records as have arrived.

        What OpenSSL may have to send in response, such as its own key update (RFC 8446 §4.6.3),
        goes out with the next request, which the protocol permits.
        """
        count = self._records.whole(data)
        if not count or not self._direct or not self._handshakeDone or self._appSendBuffer:
            super().dataReceived(data)
            return
        connection, buffer = self._tlsConnection, self._buffer
        if _lib.BIO_write(connection._into_ssl, data, len(data)) <= 0:
            super().dataReceived(data)
            return
        for _ in range(count):
            if self._aborted or self._lostTLSConnection:
                return
            size = _lib.SSL_read(connection._ssl, buffer, _MAX_READ)
            if size <= 0:  # no data, the end, or a failure
                self._flushReceiveBIO()
                return
            assert self.wrappedProtocol is not None
            self.wrappedProtocol.dataReceived(_ffi.unpack(buffer, size))

    def write(self, data: bytes) -> None:
        """See `ITransport`: encrypt what fits into one record, and send it."""
        if (
            not self._direct
            or not 0 < len(data) <= _MAX_PLAIN
            or not self._handshakeDone
            or self._appSendBuffer
            or self._lostTLSConnection
            or self.disconnecting
        ):
            super().write(data)
            return
        connection, buffer = self._tlsConnection, self._buffer
        written = _lib.SSL_write(connection._ssl, data, len(data))
        if written < len(data):
            super().write(data[max(0, written) :])
            return
        size = _lib.BIO_read(connection._from_ssl, buffer, _MAX_READ)
        if size > 0:
            assert self.transport is not None
            self.transport.write(_ffi.unpack(buffer, size))


class _Factory(TLSMemoryBIOFactory):
    protocol = TLS

    def __init__(
        self, options: Any, wrapped: IProtocolFactory, clock: IReactorTime, buffer: Any
    ) -> None:
        super().__init__(options, True, wrapped, clock)
        self.buffer = buffer


def new_buffer() -> Any:
    """Return a buffer for OpenSSL's output; None if there is no access to its functions."""
    if not hasattr(_ffi, "unpack") or not all(hasattr(_lib, name) for name in _FUNCTIONS):
        return None
    return _ffi.new("char[]", _MAX_READ)


@implementer(IStreamClientEndpoint)
class TLSEndpoint:
    """Connects over the endpoint ``plain`` and speaks TLS there, configured by ``options``."""

    def __init__(self, options: Any, plain: IStreamClientEndpoint, clock: IReactorTime) -> None:
        self._options = options
        self._plain = plain
        self._clock = clock
        self._buffer = new_buffer()

    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[IProtocol]:
        """See `IStreamClientEndpoint`."""
        factory = _Factory(self._options, protocolFactory, self._clock, self._buffer)
        connecting: Deferred[Any] = self._plain.connect(factory)
        return connecting.addCallback(lambda protocol: protocol.wrappedProtocol)
