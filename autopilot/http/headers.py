"""Header fields: which cross the router in either direction, and how their values are found.

Pure functions on name and value pairs. Hop-by-hop fields (RFC 9110 §7.6.1) and every field that a
``Connection`` field names belong to one connection only; the others pass with their order,
duplicates and values.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache

from msgspec import Struct

Field = tuple[bytes, bytes]

Named = Mapping[bytes, Sequence[bytes]]
"""The values of each field in their order, by its lower-case name."""

BODILESS = frozenset({204, 304})
"""Final statuses whose responses have no body, whatever their fields say (RFC 9112 §6.3)."""

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

# The router writes framing and target itself. The rest concerns the client and this router alone,
# could forge where the request came from, or makes the platform wrap its answer in an envelope that
# no SDK understands.
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
# A Connection field may shorten what a client sends, but never strip what the upstream needs to
# understand the request.
_NOT_NOMINABLE = frozenset({b"authorization", b"content-type", b"content-encoding", b"x-api-key"})

_NOT_SENT_DOWN = HOP_BY_HOP | {b"alt-svc", b"proxy"}
_FRAMING = frozenset({b"content-length"})
# The usual values of a Connection field; they name fields that never cross anyway.
_NOMINATES_NOTHING = frozenset({b"keep-alive", b"Keep-Alive"})

_MAX_CACHED_NAMES = 1024
_LONGEST_CACHED_NAME = 64


class FieldName(Struct, frozen=True, gc=False):
    """A field name in lower case, and whether fields of it go up and come down."""

    lower: bytes
    up: bool
    down: bool


def _classify(name: bytes) -> FieldName:
    lower = name.lower()
    return FieldName(lower, _goes_up(lower), lower not in _NOT_SENT_DOWN)


def _goes_up(lower: bytes) -> bool:
    # Some servers read `_` as `-`: such a name must not carry in what its twin may not.
    twin = lower.replace(b"_", b"-")
    return not (twin in _NOT_SENT_UP or twin.startswith(_NOT_SENT_UP_PREFIX))


# A hit costs no Python call. The cache is bounded, since a peer can send any name.
_cached = lru_cache(maxsize=_MAX_CACHED_NAMES)(_classify)


def classify(name: bytes) -> FieldName:
    """Return what is known of a field name, however it is spelled."""
    return _cached(name) if len(name) <= _LONGEST_CACHED_NAME else _classify(name)


class RequestHeaders(Struct, frozen=True, gc=False):
    """The fields of a request head, classified once.

    ``fields`` are as they came, ``named`` their values by lower-case name, and ``upstream`` the
    lines that go up with the request, each with its line end.
    """

    fields: Sequence[Field]
    named: Named
    upstream: bytes

    def __repr__(self) -> str:
        return f"RequestHeaders({len(self.fields)} fields)"


def read_request_headers(fields: Sequence[Field]) -> RequestHeaders:
    """Return ``fields`` by name, with the lines of those that go up."""
    named: dict[bytes, list[bytes]] = {}
    lines: list[bytes] = []
    for field in fields:
        name, value = field
        known = _cached(name) if len(name) <= _LONGEST_CACHED_NAME else _classify(name)
        lower = known.lower
        if lower in named:
            named[lower].append(value)
        else:
            named[lower] = [value]
        if known.up:
            lines.append(b"%b: %b\r\n" % field)
    for value in named.get(b"connection", ()):
        if value not in _NOMINATES_NOTHING:
            return RequestHeaders(fields, named, field_lines(sent_up(fields)))
    return RequestHeaders(fields, named, b"".join(lines))


def by_name(fields: Iterable[Field]) -> Named:
    """Return the values of ``fields`` by lower-case name."""
    named: dict[bytes, list[bytes]] = {}
    for name, value in fields:
        named.setdefault(name.lower(), []).append(value)
    return named


def text(named: Named, name: bytes) -> str:
    """Return the first value of the field with this lower-case name; empty if there is none."""
    values = named.get(name)
    return values[0].decode("latin-1").strip() if values else ""


def says_true(named: Named, name: bytes) -> bool:
    """Return whether any value of the field is ``true``; values may be comma-separated lists."""
    values = named.get(name)
    if not values:
        return False
    return any(item.strip() == b"true" for item in b",".join(values).lower().split(b","))


def nominated(fields: Iterable[Field]) -> frozenset[bytes]:
    """Return the lower-case names that the ``Connection`` fields name."""
    return frozenset(
        token.strip().lower()
        for name, value in fields
        if name.lower() == b"connection"
        for token in value.split(b",")
        if token.strip()
    )


def sent_up(fields: Iterable[Field]) -> list[Field]:
    """Return the client's fields that go to the upstream."""
    kept: list[Field] = []
    naming: list[Field] = []
    for field in fields:
        known = classify(field[0])
        if known.up:
            kept.append(field)
        elif known.lower == b"connection" and field[1] not in _NOMINATES_NOTHING:
            naming.append(field)
    if not naming:
        return kept
    dropped = nominated(naming) - _NOT_NOMINABLE
    return [field for field in kept if not _is_among(dropped, field[0].lower())]


def _is_among(dropped: frozenset[bytes], name: bytes) -> bool:
    return name in dropped or name.replace(b"_", b"-") in dropped


def sent_down(fields: Iterable[Field], own: frozenset[bytes] = frozenset()) -> list[Field]:
    """Return the upstream's fields that go to the client, less those the router sets (``own``).

    ``Content-Length`` is among them; the client's side frames the body anew where it has to.
    """
    kept: list[Field] = []
    naming: list[Field] = []
    for field in fields:
        name = field[0]
        known = _cached(name) if len(name) <= _LONGEST_CACHED_NAME else _classify(name)
        if known.down:
            if known.lower not in own:
                kept.append(field)
        elif known.lower == b"connection" and field[1] not in _NOMINATES_NOTHING:
            naming.append(field)
    if not naming:
        return kept
    dropped = nominated(naming) - _FRAMING
    return [field for field in kept if field[0].lower() not in dropped]


def field_lines(fields: Iterable[Field]) -> bytes:
    """Return ``fields`` as they stand in a head, each with its line end.

    The parser that read them has let no CR, LF or NUL pass.
    """
    lines = bytearray()
    for field in fields:
        lines += b"%b: %b\r\n" % field
    return bytes(lines)


def printable(value: str) -> bytes | None:
    """Return ``value`` as a header value, or ``None`` if it holds anything but printable ASCII."""
    if value and value.isascii() and value.isprintable() and value.strip() == value:
        return value.encode("ascii")
    return None
