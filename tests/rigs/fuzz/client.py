"""Whatever a client sends: nothing breaks, and nothing goes up that was not asked for.

What was asked for is what h11 reads in the same bytes: what goes upstream has to be among its
requests, in its order, and differ from them in the model at most.
"""

from __future__ import annotations

import json
import re

import h11
import msgspec

from autopilot.request.body import ParsedBody, parse_body
from tests.corpus import strict
from tests.rigs.fuzz.pieces import Pieces
from tests.rigs.fuzz.router import Router, router
from tests.unit.web.browsers import Browser, ask, request
from tests.unit.web.responses import Response, responses

_LATE = 1
_LEAVES = 2
_PROBE = request(body=ask("c", stream=False))
_LONG = 1000.0
_FIRST_LINE = re.compile(rb"\A([A-Z-]+) +([!-~\x80-\xff]+) +(?:HTTP|RTSP|ICE)(/1\.[01]\r\n)")
# More digits than h11 reads; such a line is never part of a body that goes upstream.
_LONG_SIZE = re.compile(rb"(?<=\r\n)0+(?=[0-9A-Fa-f]{12}(;|\r))")


def client(data: bytes) -> None:
    """The bytes come on one connection; the upstream answers at once or, by choice, late."""
    choice, pieces = Pieces.of(data)
    with router() as made:
        browser = made.browser()
        for piece in pieces:
            browser.sends(piece)
            if not choice & _LATE:
                made.upstream_answers()
        if choice & _LEAVES:
            browser.leaves()
            made.clock.advance(0)
        made.upstream_answers()
        reader = Reader(b"".join(pieces))
        _check_upstream(made, reader)
        _check_answers(browser, reader)
        if not browser.lost:
            _check_end(made, browser, reader)


class Reader:
    """What h11 makes of a client's bytes: ``bodies`` of whole requests, and where it stands."""

    def __init__(self, sent: bytes) -> None:
        self.bodies: list[bytes] = []
        self.methods: list[bytes] = []
        self.at_rest = False
        try:
            rest: bytes | None = sent
            while rest:
                rest = self._read_one(_LONG_SIZE.sub(b"", _as_http(rest)))
        except h11.RemoteProtocolError:
            return
        self.at_rest = rest is not None

    def _read_one(self, sent: bytes) -> bytes | None:
        """Read one request; what is behind it, or ``None`` where nothing can be."""
        connection = h11.Connection(h11.SERVER, max_incomplete_event_size=1 << 20)
        connection.receive_data(sent)
        body = b""
        while not isinstance(event := connection.next_event(), h11.EndOfMessage):
            if isinstance(event, h11.Request):
                self.methods.append(event.method)
            elif isinstance(event, h11.Data):
                body += event.data
            else:
                return None
        self.bodies.append(body)
        connection.send(h11.Response(status_code=404, headers=[("Content-Length", "0")]))
        connection.send(h11.EndOfMessage())
        return connection.trailing_data[0] if connection.our_state is h11.DONE else None


def _as_http(sent: bytes) -> bytes:
    """What llhttp takes for a request and h11 does not, by the rules for robust servers."""
    return _FIRST_LINE.sub(rb"\1 \2 HTTP\3", sent.lstrip(b"\r\n"), count=1)


def _check_upstream(made: Router, reader: Reader) -> None:
    """What went up is well-formed and was asked for, each request once and in order."""
    asked = iter(reader.bodies)
    for wire in made.upstreams.wires:
        found, rest = strict.requests(wire.value())
        assert not rest, rest
        for each in found:
            assert any(_asks_for(body, each.body) for body in asked), each


def _asks_for(body: bytes, sent: bytes) -> bool:
    """Whether ``sent`` is what a client's body becomes."""
    wanted = parse_body(body)
    if not isinstance(wanted, ParsedBody):
        return False
    hole, model = wanted.template, msgspec.json.encode(json.loads(sent)["model"])
    return sent == hole.whole[: hole.start] + model + hole.whole[hole.end :]


def _check_answers(browser: Browser, reader: Reader) -> None:
    """Each request has one answer at most; only where something is wrong there is one more."""
    if b"HEAD" in reader.methods:  # whose answers have no body, whatever their fields say
        return
    final = [each for each in responses(browser.wire) if each.status >= 200]
    assert all(each.whole for each in final), browser.wire
    assert len(final) <= len(reader.bodies) + browser.closed, browser.wire
    assert all(_is_own(each) for each in final if each.status >= 400), browser.wire


def _is_own(response: Response) -> bool:
    return bool(response.error)


def _check_end(made: Router, browser: Browser, reader: Reader) -> None:
    """The connection is closed, or usable, or will not be waited on for ever."""
    if reader.at_rest and not browser.closed:
        before, answered = len(browser.wire), made.answers
        browser.sends(_PROBE)
        made.upstream_answers()
        (answer,) = responses(browser.wire[before:])
        assert answer.body == b'{"answer":%d}' % (answered + 1), answer
    made.clock.advance(_LONG)
    assert browser.closed or browser.peer.aborted, browser.wire
