"""Target for the bytes of an upstream: a truncated response never looks whole to the client.

h11 parses the same bytes as the reference: it decides where a response ends, and what its body is.
"""

from __future__ import annotations

import re
from typing import NamedTuple

import h11

from tests.rigs.fuzz.pieces import Pieces
from tests.rigs.fuzz.router import Router, router
from tests.unit.relay.upstreams import whole
from tests.unit.web.browsers import Browser, ask
from tests.unit.web.responses import Response, responses

STREAM, TWO, CLOSES, RESETS = 1, 2, 4, 8
_SECOND = b'{"answer":"of the second"}'
_NEXT = b'{"answer":"to the next"}'
_SLOW = 61.0
_LONG = 600.0
_STATUS = len(b"HTTP/1.1 200")  # A reason phrase may contain any byte from 0x80.
_RTSP = re.compile(rb"\ARTSP(?=/1\.[01] )")
_INTERIM = re.compile(rb"\AHTTP/1\.[01] 1(?!01)[0-9][0-9][ \r]")
# Contract §6: bytes behind the terminator are not relayed; a break behind a finish reason is
# no cut.
_TERMINATED = re.compile(rb"data: ?\[DONE\](?:\r\n|\n|\r){2}\Z")
_FINISHED = re.compile(rb'"finish_reason": ?"')
_EVENT = b'data: {"error":'
_OURS = re.compile(rb'"code":"upstream_(?:stream_interrupted|empty)"')


def upstream(data: bytes) -> None:
    """Answer a request for one or two models with the bytes; the choice ends the connection."""
    choice, pieces = Pieces.of(data)
    two = bool(choice & TWO)
    with router() as made:
        browser = made.post(ask("a,b" if two else "a", stream=bool(choice & STREAM)))
        first = made.wire
        for piece in pieces:
            first.says(piece)
        if choice & CLOSES:
            first.closes()
        elif choice & RESETS:
            first.resets()
        if not browser.wire and len(made.upstreams.wires) == 1:
            made.clock.advance(_SLOW)
        assert len(made.upstreams.wires) <= 1 + two
        if len(made.upstreams.wires) > 1:
            made.wire.says(whole(200, _SECOND))
            assert (browser.response.status, browser.response.body) == (200, _SECOND), browser.wire
        else:
            made.clock.advance(_LONG)
            _check(browser, Reading.of(b"".join(pieces), closes=bool(choice & CLOSES)))
        _check_next(made)


class Reading(NamedTuple):
    """The response that h11 parses from the bytes; ``body`` is its valid part."""

    status: int
    body: bytes
    whole: bool

    @classmethod
    def of(cls, sent: bytes, *, closes: bool) -> Reading:
        """Parse the response to the request that was sent."""
        connection = h11.Connection(h11.CLIENT, max_incomplete_event_size=1 << 20)
        connection.send(h11.Request(method="POST", target="/", headers=[("Host", "h")]))
        connection.send(h11.EndOfMessage())
        status, body = 0, b""
        sent = _as_http(sent)
        try:
            for each in (sent, b"") if closes else (sent,):
                if each or closes:
                    connection.receive_data(each)
                while (event := connection.next_event()) not in (h11.NEED_DATA, h11.PAUSED):
                    if isinstance(event, h11.Response):
                        status = event.status_code
                    elif isinstance(event, h11.Data):
                        body += event.data
                    elif isinstance(event, h11.EndOfMessage):
                        return cls(status, body, True)
                    elif isinstance(event, h11.ConnectionClosed):
                        return cls(status, body, False)
        except h11.RemoteProtocolError:
            pass
        return cls(status, body, False)


def _as_http(sent: bytes) -> bytes:
    """Remove what llhttp accepts and h11 does not.

    That is: empty lines before a head, RTSP in place of HTTP, and odd bytes in the reason phrase of
    an interim response, which the router discards as a whole.
    """
    while True:
        head, end, rest = sent.lstrip(b"\r\n").partition(b"\r\n\r\n")
        head = _RTSP.sub(b"HTTP", head)
        if not end or not _INTERIM.match(head + end):
            return head + end + rest
        sent = rest


def _check(browser: Browser, read: Reading) -> None:
    """Check that the client received the valid part of the response, or an error of the router."""
    line, end, rest = browser.wire.partition(b"\r\n")
    (got,) = responses(line[:_STATUS] + end + rest)
    body = _relayed(got, read)
    if body is None:
        assert got.whole and got.status in (502, 504) and got.error, browser.wire
    elif got.whole and _may_end(body, read):
        assert read.status == got.status and read.body.startswith(body), (got, read)
    elif got.whole:
        assert (read.status, read.body, read.whole) == (got.status, body, True), (got, read)
    else:
        assert read.status == got.status and read.body.startswith(body), (got, read)
        assert browser.closed or browser.peer.aborted


def _may_end(body: bytes, read: Reading) -> bool:
    """Return whether a stream may end cleanly here, although the upstream sent more or broke it."""
    return bool(_TERMINATED.search(body) or (_FINISHED.search(body) and not read.whole))


def _relayed(got: Response, read: Reading) -> bytes | None:
    """Return the part of the upstream's body that the client received.

    ``None`` means that the router responded itself.
    """
    if got.status >= 500 and got.status != read.status:
        return None
    if got.whole and got.body != read.body and got.status >= 500:
        return None
    body, event, _ = got.body.rpartition(_EVENT)
    if got.whole or not event or not _OURS.search(got.body):
        return got.body
    return body if read.body.startswith(body) else body.removesuffix(b"\n\n")


def _check_next(made: Router) -> None:
    """Check that the next request, on any connection, receives its own response only."""
    sizes = [len(wire.value()) for wire in made.upstreams.wires]
    browser = made.post(ask("c", stream=False))
    sizes += [0] * (len(made.upstreams.wires) - len(sizes))
    pairs = zip(made.upstreams.wires, sizes, strict=True)
    (wire,) = [wire for wire, size in pairs if len(wire.value()) > size]
    wire.says(whole(200, _NEXT))
    assert (browser.response.status, browser.response.body) == (200, _NEXT), browser.wire
