"""Which header fields cross the router, in both directions.

Pure functions on name and value pairs. Hop-by-hop fields (RFC 9110, 7.6.1) and every field a
``Connection`` field names belong to one connection only; the others pass with their order,
duplicates and values.
"""

from __future__ import annotations

from collections.abc import Iterable

Field = tuple[bytes, bytes]

HOP_BY_HOP = frozenset(
    {
        b"connection",
        b"keep-alive",
        b"proxy-authenticate",
        b"proxy-authorization",
        b"proxy-authentication-info",
        b"proxy-connection",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
    }
)

# Framing and target are written anew; the rest is the client's business with this router alone,
# could forge where the request came from, or changes the platform's answer into an envelope no
# SDK understands.
_NOT_SENT_UP = HOP_BY_HOP | {
    b"host",
    b"content-length",
    b"accept-encoding",
    b"proxy",
    b"forwarded",
    b"x-real-ip",
    b"cookie",
    b"expect",
    b"x-chutes-trace",
    b"http2-settings",
}
_NOT_SENT_UP_PREFIX = b"x-forwarded-"
# A Connection field may shorten what a client sends, but never strip what the request needs to be
# understood.
_NOT_NOMINABLE = frozenset({b"authorization", b"content-type", b"content-encoding", b"x-api-key"})

_NOT_SENT_DOWN = HOP_BY_HOP | {b"alt-svc", b"proxy"}


def nominated(fields: Iterable[Field]) -> frozenset[bytes]:
    """The lower-case names that the ``Connection`` fields name."""
    return frozenset(
        token.strip().lower()
        for name, value in fields
        if name.lower() == b"connection"
        for token in value.split(b",")
        if token.strip()
    )


def sent_up(fields: Iterable[Field]) -> list[Field]:
    """The client's fields that go to the upstream."""
    fields = list(fields)
    dropped = nominated(fields) - _NOT_NOMINABLE
    return [field for field in fields if _goes_up(field[0].lower(), dropped)]


def _goes_up(name: bytes, dropped: frozenset[bytes]) -> bool:
    if name in dropped:
        return False
    # Some servers read `_` as `-`: such a name must not carry in what its double is refused.
    name = name.replace(b"_", b"-")
    return not (name in _NOT_SENT_UP or name in dropped or name.startswith(_NOT_SENT_UP_PREFIX))


def sent_down(fields: Iterable[Field], own: frozenset[bytes] = frozenset()) -> list[Field]:
    """The upstream's fields that go to the client, less those the router gives itself (``own``).

    ``Content-Length`` is among them; the client's side frames the body anew where it has to.
    """
    fields = list(fields)
    dropped = (nominated(fields) - {b"content-length"}) | _NOT_SENT_DOWN | own
    return [field for field in fields if field[0].lower() not in dropped]


def request_head(target: bytes, host: bytes, fields: Iterable[Field], length: int) -> bytes:
    """A complete HTTP/1.1 request head for a ``POST`` of ``length`` body bytes.

    ``fields`` are as :func:`sent_up` left them; the parser they came through let no CR, LF or NUL
    pass.
    """
    lines = [b"POST %b HTTP/1.1\r\nHost: %b\r\nAccept-Encoding: identity\r\n" % (target, host)]
    lines += [b"%b: %b\r\n" % field for field in fields]
    lines.append(b"Content-Length: %d\r\n\r\n" % length)
    return b"".join(lines)


def printable(value: str) -> bytes | None:
    """``value`` as a header value, or ``None`` when it holds anything but printable ASCII."""
    if value and value.isascii() and value.isprintable() and value.strip() == value:
        return value.encode("ascii")
    return None
