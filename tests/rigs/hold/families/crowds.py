"""Many clients that come, wait or leave at once, and a log that is not read."""

from __future__ import annotations

from tests.rigs.hold.input import KIB, Input, Leaves, Reads, Wire
from tests.rigs.hold.wire import CHAT, JSON, SSE, chat, get, head, post, stream_request

_EACH = 16 * KIB
"""Memory for a connection that has sent little."""
_STREAM_EACH = 64 * KIB
_NONE: Wire = bytes
_TOKEN = b"5\r\ndata:\r\n"

# Milliseconds. Honest requests that come at the same time are served in turn, so that one more
# waits for all of them; no single one may take longer.
_WORK = 0.15


def _crowd(
    name: str,
    request: Wire,
    count: int,
    leaves: Leaves,
    *,
    each: int = _EACH,
    spread: float = 0.0,
    stay: float = 0.5,
    work: float = 0.0,
) -> Input:
    return Input(
        family="crowds",
        name=name,
        request=request,
        connections=count,
        reads=Reads.NOTHING,
        leaves=leaves,
        spread=spread,
        stay=stay,
        memory=count * each,
        work=work,
        seconds=60.0,
    )


def _under_way(name: str, count: int, leaves: Leaves, *, stays: bool = True) -> Input:
    return Input(
        family="crowds",
        name=name,
        request=stream_request("acme/one"),
        connections=count,
        reads=Reads.NOTHING,
        leaves=leaves,
        spread=1.0,
        stay=0.5,
        response=_silence,
        upstream_stays=stays,
        memory=count * _STREAM_EACH,
        seconds=60.0,
    )


def _silence() -> bytes:
    return SSE + b"Transfer-Encoding: chunked\r\n\r\n" + _TOKEN


def _idle() -> bytes:
    return head("GET", "/healthz")


def _half() -> bytes:
    return head("POST", CHAT, "Content-Length: 100") + b"{"


def _refused() -> bytes:
    return post(b"{}").replace(b"Connection: close\r\n", b"") * 200 + get("/healthz")()


INPUTS = (
    _crowd("2,000 connect and are reset", _NONE, 2000, Leaves.RESET),
    _crowd("2,000 connect and close", _NONE, 2000, Leaves.FIN),
    _crowd("8,000 connect and are reset", _NONE, 8000, Leaves.RESET),
    _crowd("8,000 connect and close", _NONE, 8000, Leaves.FIN),
    _crowd("2,000 send half a head and close", lambda: b"GET / HT", 2000, Leaves.FIN),
    _crowd("2,000 send half a body and close", _half, 2000, Leaves.FIN, each=32 * KIB),
    _crowd("2,000 idle after a response are reset", _idle, 2000, Leaves.RESET, spread=1.5),
    _crowd("2,000 idle after a response close", _idle, 2000, Leaves.FIN, spread=1.5),
    _crowd("2,000 × GET /healthz at once", _idle, 2000, Leaves.FIN, stay=2.0, work=_WORK),
    _under_way("1,000 streams under way close", 1000, Leaves.FIN),
    _under_way("1,000 streams under way are reset", 1000, Leaves.RESET),
    _under_way("1,000 streams are cut by the upstream", 1000, Leaves.FIN, stays=False),
    Input(
        family="crowds",
        name="500 requests at once",
        request=lambda: post(chat()),
        connections=500,
        response=lambda: JSON + b"Content-Length: 2\r\n\r\n{}",
        answers=frozenset({200}),
        work=_WORK,
        setups=("own", "TLS"),
        seconds=60.0,
    ),
    Input(
        family="crowds",
        name="2,000 refusals, the log is a pipe that is not read",
        request=_refused,
        connections=10,
        setups=("unread log",),
        seconds=60.0,
    ),
)
