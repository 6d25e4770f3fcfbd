"""Rules of the header fields that the router forwards in each direction, and look-up of values.

Pure functions on name and value pairs. Hop-by-hop fields (RFC 9110 §7.6.1) and every field that a
``Connection`` field names belong to one connection only; the others pass with their order,
duplicates and values.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

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

# The fields in which proxies, balancers and CDNs write a client's address or their own trace
# (contract §7). The router does not send the platform any address of a client, and a client must
# not be able to forge its own.
_ADDRESSES = frozenset(
    {
        b"forwarded",
        b"client-ip",
        b"do-connecting-ip",
        b"fly-client-ip",
        b"true-client-ip",
        b"wl-proxy-client-ip",
        b"x-amzn-trace-id",
        b"x-appengine-user-ip",
        b"x-client-ip",
        b"x-cloud-trace-context",
        b"x-cluster-client-ip",
        b"x-envoy-external-address",
        b"x-host-client-ip",
        b"x-original-forwarded-for",
        b"x-originating-ip",
        b"x-proxyuser-ip",
        b"x-real-ip",
        b"x-remote-addr",
        b"x-remote-ip",
        b"x-vercel-forwarded-for",
    }
)
# The router writes framing and target itself. The others concern only the client and this router,
# or make the platform wrap its response in an envelope that no SDK understands (contract §7).
_NOT_SENT_UP = (
    HOP_BY_HOP
    | _ADDRESSES
    | {
        b"host",
        b"content-length",
        b"accept-encoding",
        b"proxy",
        b"cookie",
        b"expect",
        b"x-chutes-trace",
        b"http2-settings",
    }
)
_NOT_SENT_UP_PREFIXES = (b"x-forwarded-", b"cf-", b"fastly-", b"x-azure-", b"x-autopilot-")
# The credentials of Cloudflare Access, for an upstream that it protects.
_SENT_UP_PREFIX = b"cf-access-"
# A client's Connection field must not remove the fields without which the upstream would reject or
# misread the request. RFC 9110 §7.6.1 forbids nominating them: they are meant for all recipients.
_NOT_NOMINABLE = frozenset(
    {b"authorization", b"content-type", b"content-encoding", b"via", b"x-api-key"}
)

_NOT_SENT_DOWN = HOP_BY_HOP | {b"alt-svc", b"proxy"}
_FRAMING = frozenset({b"content-length"})
# The usual values of a Connection field; they name a hop-by-hop field, which never passes anyway.
_NOMINATES_NOTHING = frozenset({b"keep-alive", b"Keep-Alive"})

_MAX_CACHED_NAMES = 1024
_LONGEST_CACHED_NAME = 64


class FieldName(Struct, frozen=True, gc=False):
    """A field name in lower case, and whether the router forwards it upstream and to the client.

    ``start`` begins its line: the name as it is spelled, a colon and a space.
    """

    lower: bytes
    start: bytes
    up: bool
    down: bool


# The classifications of the names met lately, by their spelling. Every field of every message asks,
# so the loops below look here first: a call, even of an `lru_cache`, would cost five times as much.
# Bounded in entries and in the length of a name, because a peer can send any name.
_field_names: dict[bytes, FieldName] = {}


def classify(name: bytes) -> FieldName:
    """Return the classification of a field name, in any case, and remember it."""
    lower = name.lower()
    kind = FieldName(lower, name + b": ", _goes_up(lower), lower not in _NOT_SENT_DOWN)
    if len(name) <= _LONGEST_CACHED_NAME:
        if len(_field_names) >= _MAX_CACHED_NAMES:
            _field_names.clear()
        _field_names[name] = kind
    return kind


def _goes_up(lower: bytes) -> bool:
    # Servers that pass fields to CGI variables read `_` as `-`, so a name with `_` must not smuggle
    # in a field that is removed under its usual spelling.
    twin = lower.replace(b"_", b"-")
    if twin in _NOT_SENT_UP:
        return False
    return twin.startswith(_SENT_UP_PREFIX) or not twin.startswith(_NOT_SENT_UP_PREFIXES)


class RequestHeaders(Struct, frozen=True, gc=False):
    """The fields of a request head, classified once.

    ``fields`` are in wire order and spelling, ``named`` their values by lower-case name, and
    ``upstream`` the lines to forward with the request, each with its line end.
    """

    fields: Sequence[Field]
    named: Named
    upstream: bytes

    def __repr__(self) -> str:
        return f"RequestHeaders({len(self.fields)} fields)"


def read_request_headers(fields: Sequence[Field]) -> RequestHeaders:
    """Return ``fields`` by name, with the lines of those to forward."""
    named: dict[bytes, tuple[bytes, ...]] = {}
    lines: list[bytes] = []
    for name, value in fields:
        try:
            kind = _field_names[name]
        except KeyError:
            kind = classify(name)
        lower = kind.lower
        if lower in named:
            named[lower] += (value,)
        else:
            named[lower] = (value,)
        if kind.up:
            lines += (kind.start, value, b"\r\n")
    if b"connection" in named and not _NOMINATES_NOTHING.issuperset(named[b"connection"]):
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
    """Return the client's fields to forward to the upstream."""
    kept: list[Field] = []
    nominating: list[Field] = []
    for field in fields:
        kind = _field_names.get(field[0]) or classify(field[0])
        if kind.up:
            kept.append(field)
        elif kind.lower == b"connection" and field[1] not in _NOMINATES_NOTHING:
            nominating.append(field)
    if not nominating:
        return kept
    dropped = nominated(nominating) - _NOT_NOMINABLE
    return [field for field in kept if not _is_among(dropped, field[0].lower())]


def _is_among(dropped: frozenset[bytes], name: bytes) -> bool:
    return name in dropped or name.replace(b"_", b"-") in dropped


def sent_down(fields: Iterable[Field], own: frozenset[bytes] = frozenset()) -> list[Field]:
    """Return the upstream's fields to forward to the client, without those in ``own``.

    ``own`` names the fields that the router sets itself. ``Content-Length`` stays; the code that
    writes to the client replaces it where the framing changes.
    """
    kept: list[Field] = []
    nominating: list[Field] = []
    for field in fields:
        try:
            kind = _field_names[field[0]]
        except KeyError:
            kind = classify(field[0])
        if kind.down:
            if kind.lower not in own:
                kept.append(field)
        elif kind.lower == b"connection" and field[1] not in _NOMINATES_NOTHING:
            nominating.append(field)
    if not nominating:
        return kept
    dropped = nominated(nominating) - _FRAMING
    return [field for field in kept if field[0].lower() not in dropped]


def field_lines(fields: Iterable[Field]) -> bytes:
    """Return ``fields`` as lines of a head, each with its line end.

    Values are not escaped: llhttp rejects CR, LF and NUL in the fields that it parses.
    """
    lines = bytearray()
    for field in fields:
        lines += b"%b: %b\r\n" % field
    return bytes(lines)


# Names that are printable, as header values; every response names its model.
_printable: dict[str, bytes] = {}


def printable(value: str) -> bytes | None:
    """Return ``value`` as a header value, or ``None`` if it holds anything but printable ASCII."""
    known = _printable.get(value)
    if known is not None:
        return known
    if not (value and value.isascii() and value.isprintable() and value.strip() == value):
        return None
    encoded = value.encode("ascii")
    if len(encoded) <= _LONGEST_CACHED_NAME:
        if len(_printable) >= _MAX_CACHED_NAMES:
            _printable.clear()
        _printable[value] = encoded
    return encoded
