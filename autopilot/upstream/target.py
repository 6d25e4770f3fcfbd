"""Where requests of one endpoint go, with the parts of their head that never change."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Struct

from autopilot.upstream.pool import Origin


class RequestTarget(Struct, frozen=True, gc=False):
    """An origin and a path, ready to be written: once for an endpoint, not for each request."""

    origin: Origin
    start: bytes
    rest: bytes

    @classmethod
    def of(cls, origin: Origin, path: bytes) -> RequestTarget:
        """Return the target for ``POST`` of ``path``, which is appended to the origin's own."""
        return cls(
            origin,
            b"POST %b%b" % (origin.base_path.encode("ascii"), path),
            b" HTTP/1.1\r\nHost: %b\r\nAccept-Encoding: identity\r\n" % origin.host_field,
        )

    def request(self, query: bytes, lines: bytes, pieces: Sequence[bytes | memoryview]) -> bytes:
        """Return a complete request (RFC 9112 §3) with the body that ``pieces`` make.

        ``lines`` are the fields that go up, each with its line end.
        """
        length = sum(map(len, pieces))
        if query:
            query = b"?" + query
        framing = b"Content-Length: %d\r\n\r\n" % length
        return b"".join((self.start, query, self.rest, lines, framing, *pieces))
