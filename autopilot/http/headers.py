"""Which header fields cross the router, in both directions.

Pure functions on name and value pairs. Hop-by-hop fields (RFC 9110, 7.6.1) and every field a
``Connection`` field names belong to one connection only; the others pass with their order,
duplicates and values.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

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
_FRAMING = frozenset({b"content-length"})
# What a Connection field says most often, and a field that does not cross anyway.
_NAMING_NOTHING = frozenset({b"keep-alive", b"Keep-Alive"})

_MOST_NAMES = 1024
_LONGEST_NAME = 64


class _Name(msgspec.Struct, frozen=True, gc=False):
    """A field name: in lower case, and whether fields of it go up and come down."""

    lower: bytes
    up: bool
    down: bool


class _Names(dict[bytes, _Name]):
    """What is known of each name, as it was spelled; bounded, for anybody can make up names."""

    def __missing__(self, name: bytes) -> _Name:
        lower = name.lower()
        known = _Name(lower, _goes_up(lower), lower not in _NOT_SENT_DOWN)
        if len(name) <= _LONGEST_NAME:
            if len(self) >= _MOST_NAMES:
                self.clear()
            self[name] = known
        return known


def _goes_up(name: bytes) -> bool:
    # Some servers read `_` as `-`: such a name must not carry in what its double is refused.
    name = name.replace(b"_", b"-")
    return not (name in _NOT_SENT_UP or name.startswith(_NOT_SENT_UP_PREFIX))


_names = _Names()


def nominated(fields: Iterable[Field]) -> frozenset[bytes]:
    """The lower-case names that the ``Connection`` fields name."""
    return _nominees(value for name, value in fields if name.lower() == b"connection")


def _nominees(values: Iterable[bytes]) -> frozenset[bytes]:
    return frozenset(
        token.strip().lower() for value in values for token in value.split(b",") if token.strip()
    )


def sent_up(fields: Iterable[Field]) -> list[Field]:
    """The client's fields that go to the upstream."""
    kept: list[Field] = []
    naming: list[bytes] = []
    for field in fields:
        name = _names[field[0]]
        if name.up:
            kept.append(field)
        elif name.lower == b"connection" and field[1] not in _NAMING_NOTHING:
            naming.append(field[1])
    if not naming:
        return kept
    dropped = _nominees(naming) - _NOT_NOMINABLE
    return [field for field in kept if not _is_among(dropped, field[0].lower())]


def _is_among(dropped: frozenset[bytes], name: bytes) -> bool:
    return name in dropped or name.replace(b"_", b"-") in dropped


def sent_down(fields: Iterable[Field], own: frozenset[bytes] = frozenset()) -> list[Field]:
    """The upstream's fields that go to the client, less those the router gives itself (``own``).

    ``Content-Length`` is among them; the client's side frames the body anew where it has to.
    """
    kept: list[Field] = []
    naming: list[bytes] = []
    for field in fields:
        name = _names[field[0]]
        if name.down:
            if name.lower not in own:
                kept.append(field)
        elif name.lower == b"connection" and field[1] not in _NAMING_NOTHING:
            naming.append(field[1])
    if not naming:
        return kept
    dropped = _nominees(naming) - _FRAMING
    return [field for field in kept if field[0].lower() not in dropped]


def field_lines(fields: Iterable[Field]) -> bytes:
    """``fields`` as they stand in a head, each with its line's end.

    The parser they came through let no CR, LF or NUL pass.
    """
    return b"".join([b"%b: %b\r\n" % field for field in fields])


def request_head(target: bytes, host: bytes, fields: Iterable[Field], length: int) -> bytes:
    """A complete HTTP/1.1 request head for a ``POST`` of ``length`` body bytes.

    ``fields`` are as :func:`sent_up` left them.
    """
    return (
        b"POST %b HTTP/1.1\r\nHost: %b\r\nAccept-Encoding: identity\r\n%bContent-Length: %d\r\n\r\n"
        % (target, host, field_lines(fields), length)
    )


def printable(value: str) -> bytes | None:
    """``value`` as a header value, or ``None`` when it holds anything but printable ASCII."""
    if value and value.isascii() and value.isprintable() and value.strip() == value:
        return value.encode("ascii")
    return None
