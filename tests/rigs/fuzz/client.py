"""Target for the bytes of a client: the router survives, and forwards only what was requested.

h11 parses the same bytes as the reference. Each upstream request must be one of h11's requests, in
their order, and may differ from it in the model only.
"""

from __future__ import annotations

import json
import re

import h11
import msgspec

from autopilot.request.body import ParsedBody, parse_body
from autopilot.web.endpoint import RELAYED
from tests.corpus import strict
from tests.rigs.fuzz.pieces import Pieces
from tests.rigs.fuzz.router import Router, router
from tests.unit.web.browsers import Browser, ask, request
from tests.unit.web.responses import Response, responses

_LATE = 1
_LEAVES = 2
_PROBE = request(body=ask("c", stream=False))
_LONG = 1000.0
_FIRST_LINE = re.compile(rb"\A([A-Z-]+) +([!-~\x80-\xff]+) +HTTP(/1\.[01]\r\n)")
# h11 limits the digits of a chunk size; such a line is never part of a forwarded body.
_LONG_SIZE = re.compile(rb"(?<=\r\n)0+(?=[0-9A-Fa-f]{12}(;|\r))")


def client(data: bytes) -> None:
    """Send the bytes on one connection; the choice says whether the upstream responds at once."""
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
        for _ in reader.bodies:  # each pipelined request has a turn of its own
            made.clock.advance(0)
            made.upstream_answers()
        _check_upstream(made, reader)
        _check_answers(browser, reader)
        if not browser.lost:
            _check_end(made, browser, reader)


class Reader:
    """The requests that h11 parses from a client's bytes: their ``bodies``, and the final state.

    ``without_body``: the last one is not for the relay, so its head alone may be answered.
    """

    def __init__(self, sent: bytes) -> None:
        self.bodies: list[bytes] = []
        self.methods: list[bytes] = []
        self.at_rest = self.without_body = False
        try:
            rest: bytes | None = sent
            while rest:
                rest = self._read_one(_LONG_SIZE.sub(b"", _as_http(rest)))
        except h11.RemoteProtocolError:
            return
        self.at_rest = rest is not None

    def _read_one(self, sent: bytes) -> bytes | None:
        """Parse one request; return the bytes after it, or ``None`` if no request may follow."""
        connection = h11.Connection(h11.SERVER, max_incomplete_event_size=1 << 20)
        connection.receive_data(sent)
        body = b""
        while not isinstance(event := connection.next_event(), h11.EndOfMessage):
            if isinstance(event, h11.Request):
                self.methods.append(event.method)
                relayed = event.method == b"POST" and event.target.partition(b"?")[0] in RELAYED
                self.without_body = not relayed
            elif isinstance(event, h11.Data):
                body += event.data
            else:
                return None
        self.bodies.append(body)
        self.without_body = False
        connection.send(h11.Response(status_code=404, headers=[("Content-Length", "0")]))
        connection.send(h11.EndOfMessage())
        return connection.trailing_data[0] if connection.our_state is h11.DONE else None


def _as_http(sent: bytes) -> bytes:
    """Rewrite what llhttp accepts (RFC 9112 §2.2, tolerant servers) and h11 does not."""
    return _FIRST_LINE.sub(rb"\1 \2 HTTP\3", sent.lstrip(b"\r\n"), count=1)


def _check_upstream(made: Router, reader: Reader) -> None:
    """Check that upstream requests are well formed, and each requested once and in order."""
    asked = iter(reader.bodies)
    for wire in made.upstreams.wires:
        found, rest = strict.requests(wire.value())
        assert not rest, rest
        for each in found:
            assert any(_corresponds(body, each.body) for body in asked), each


def _corresponds(body: bytes, sent: bytes) -> bool:
    """Return whether ``sent`` is the upstream request body for a client's body."""
    wanted = parse_body(body)
    if not isinstance(wanted, ParsedBody):
        return False
    hole, model = wanted.template, msgspec.json.encode(json.loads(sent)["model"])
    return sent == hole.whole[: hole.start] + model + hole.whole[hole.end :]


def _check_answers(browser: Browser, reader: Reader) -> None:
    """Check that each request has at most one response; a protocol error adds one."""
    if b"HEAD" in reader.methods:  # The response to HEAD has no body, whatever its fields announce.
        return
    final = [each for each in responses(browser.wire) if each.status >= 200]
    assert all(each.whole for each in final), browser.wire
    most = len(reader.bodies) + reader.without_body + browser.closed
    assert len(final) <= most, browser.wire
    assert all(_is_own(each) for each in final if each.status >= 400), browser.wire


def _is_own(response: Response) -> bool:
    return bool(response.error)


def _check_end(made: Router, browser: Browser, reader: Reader) -> None:
    """Check that the connection is closed, usable, or closed after a timeout."""
    if reader.at_rest and not browser.closed:
        before, answered = len(browser.wire), made.answers
        browser.sends(_PROBE)
        made.upstream_answers()
        (answer,) = responses(browser.wire[before:])
        assert answer.body == b'{"answer":%d}' % (answered + 1), answer
    made.clock.advance(_LONG)
    assert browser.closed or browser.peer.aborted, browser.wire
