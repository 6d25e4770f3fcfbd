"""Many requests in one segment, read or not."""

from __future__ import annotations

from tests.rigs.hold.input import Input, Port, Reads, Wire
from tests.rigs.hold.wire import CHAT, get, head, post

_BOTH = ("own", "embedded")
_OK = frozenset({200})


def _repeated(*requests: bytes, last: bytes) -> Wire:
    return lambda: b"".join(requests) + last


def _pages() -> tuple[Input, ...]:
    found = []
    for path, to in (
        ("/status", Port.ADMIN),
        ("/status.json", Port.ADMIN),
        ("/metrics", Port.ADMIN),
        ("/v1/models", Port.API),
        ("/v1/models/acme/one", Port.API),
        ("/readyz", Port.API),
        ("/nothing", Port.API),
    ):
        answers = frozenset({404}) if path == "/nothing" else _OK
        for reads in (Reads.NOTHING, Reads.ALL):
            text = "unread" if reads is Reads.NOTHING else "read"
            found.append(
                Input(
                    family="pipelining",
                    name=f"250 × GET {path}, {text}",
                    request=get(path, 250),
                    reads=reads,
                    stay=0.7 if reads is Reads.NOTHING else 0.0,
                    to=to,
                    answers=answers,
                    setups=_BOTH if reads is Reads.NOTHING else ("own",),
                    seconds=40.0,
                )
            )
    return tuple(found)


_SMALL = post(b"{}").replace(b"Connection: close\r\n", b"")
_UPGRADE = head("GET", "/v1/responses", "Connection: Upgrade", "Upgrade: websocket")
_H2C = head("GET", "/healthz", "Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c")
_LAST = head("GET", "/healthz", "Connection: close")

INPUTS = (
    Input(family="pipelining", name="one honest request", request=get("/healthz"), answers=_OK),
    *_pages(),
    Input(
        family="pipelining",
        name="1,000 upgrades to a WebSocket",
        request=_repeated(*[_UPGRADE] * 1000, last=_LAST),
        setups=_BOTH,
    ),
    Input(
        family="pipelining",
        name="1,000 upgrades to HTTP/2",
        request=_repeated(*[_H2C] * 1000, last=_LAST),
        setups=_BOTH,
    ),
    Input(
        family="pipelining",
        name="1,000 refused bodies",
        request=_repeated(*[_SMALL] * 1000, last=_LAST),
        setups=(*_BOTH, "TLS"),
    ),
    Input(
        family="pipelining",
        name="1,000 preflights",
        request=get(CHAT, 1000, method="OPTIONS", fields=("Origin: http://x",)),
    ),
    Input(family="pipelining", name="1,000 × OPTIONS *", request=get("*", 1000, method="OPTIONS")),
    Input(
        family="pipelining",
        name="20 connections, 100 × GET /status each, unread",
        request=get("/status", 100),
        connections=20,
        reads=Reads.NOTHING,
        stay=1.0,
        to=Port.ADMIN,
        seconds=60.0,
    ),
    Input(
        family="pipelining",
        name="20 connections, 100 × GET /v1/models each, unread",
        request=get("/v1/models", 100),
        connections=20,
        reads=Reads.NOTHING,
        stay=1.0,
        seconds=60.0,
    ),
)
