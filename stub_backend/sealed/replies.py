"""The response to a sealed call: the steps of the usual response, with sealed bodies."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable, Generator
from enum import Enum

from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PublicKey

from stub_backend.dialect import compact
from stub_backend.scenario import JSON, SSE
from stub_backend.sealed.hostile import hostile_wire
from stub_backend.sealed.seals import StreamSealer, seal_reply, seal_twice
from stub_backend.steps import Close, Head, Headers, Raw, Send, Step, Steps, Wait

OCTETS = "application/octet-stream"
FAILED = "Internal error during E2E invocation"
INSTANCE_STATUS = "Instance returned status {}"
_OF_THE_ENGINE = frozenset({404, 422, 500, 503})
_ODD = 7
_USAGE = b'"usage":{'

Shown = Callable[[bytes], None]
"""Takes the bytes of the usual response, before they are sealed."""


class Pieces(Enum):
    """Where an instance cuts the engine's stream, to seal each piece by itself."""

    LINES = "lines"
    EVENTS = "events"
    ODD = "odd"

    def cut(self, data: bytes) -> tuple[list[bytes], bytes]:
        """Return the complete pieces, and the rest, which begins the next one."""
        if self is Pieces.ODD:
            whole = len(data) - len(data) % _ODD
            return [data[at : at + _ODD] for at in range(0, whole, _ODD)], data[whole:]
        *pieces, rest = data.split(end := b"\n" if self is Pieces.LINES else b"\n\n")
        return [piece + end for piece in pieces], rest


def sealed(
    steps: Steps,
    to: MLKEM768PublicKey,
    shown: Shown,
    pieces: Pieces = Pieces.LINES,
    hostile: str | None = None,
) -> Steps:
    """Seal a response: a reply, a stream, or the engine's refusal, which cannot be read."""
    for step in steps:
        if isinstance(step, Raw):
            # The instance does not speak HTTP, which the gateway notices.
            yield from _detail(500, FAILED)
            return
        if not isinstance(step, Head):
            yield step
            continue
        if step.status != 200:
            yield from _refused(step, steps, to)
        elif dict(step.headers).get("content-type") != SSE:
            yield from _reply(step, steps, to, shown)
        elif hostile is None:
            yield from _stream(step, steps, to, shown, pieces)
        else:
            yield from _hostile_stream(step, steps, to, hostile)
        return


def unexpected_reply(steps: Steps, to: MLKEM768PublicKey) -> Steps:
    """Send a plain reply to a call whose header promised a stream: the gateway passes it on."""
    body, _broken = yield from _gathered(steps)
    yield Head(200, (("content-type", SSE),))
    yield Send(compact({"e2e": b64encode(seal_reply(body, to)).decode()}))


def _reply(head: Head, steps: Steps, to: MLKEM768PublicKey, shown: Shown) -> Steps:
    body, broken = yield from _gathered(steps)
    shown(body)
    blob = seal_reply(body, to)
    if broken is None:
        yield from _whole(200, OCTETS, blob, _others(head))
        return
    yield Head(200, (("content-type", OCTETS), *_others(head)))
    yield Send(blob[: len(blob) // 2])
    yield broken


def _stream(head: Head, steps: Steps, to: MLKEM768PublicKey, shown: Shown, pieces: Pieces) -> Steps:
    sealer, rest = StreamSealer(to), b""
    yield Head(200, (("content-type", SSE), *_others(head)))
    yield Send(sealer.init())
    for step in steps:
        if isinstance(step, Raw):
            yield Close()
            return
        if not isinstance(step, Send):
            yield step
            continue
        shown(step.data)
        complete, rest = pieces.cut(rest + step.data)
        for piece in complete:
            yield Send(sealer.event(piece))
            if _USAGE in piece:
                # The gateway drops the plain usage, but for its empty line.
                yield Send(b"\n")
    if rest:
        yield Send(sealer.event(rest))


def _hostile_stream(head: Head, steps: Steps, to: MLKEM768PublicKey, hostile: str) -> Steps:
    body, _broken = yield from _gathered(steps)
    yield Head(200, (("content-type", SSE), *_others(head)))
    for data in hostile_wire(hostile, to, tuple(body.splitlines(keepends=True))):
        yield Send(data)


def _refused(head: Head, steps: Steps, to: MLKEM768PublicKey) -> Steps:
    """Send an error: the engine's is lost or sealed twice, the gateway's is sent as it is."""
    body, broken = yield from _gathered(steps)
    if broken is not None:
        yield broken
        return
    if head.status == 400:
        yield from _detail(400, seal_twice(body, to))
    elif head.status in _OF_THE_ENGINE:
        yield from _detail(head.status, INSTANCE_STATUS.format(head.status))
    else:
        yield head
        yield Send(body)


def _detail(status: int, detail: str) -> Steps:
    yield from _whole(status, JSON, compact({"detail": detail}), ())


def _whole(status: int, content_type: str, body: bytes, others: Headers) -> Steps:
    own = (("content-type", content_type), ("content-length", str(len(body))))
    yield Head(status, own + others)
    yield Send(body)


def _gathered(steps: Steps) -> Generator[Step, None, tuple[bytes, Step | None]]:
    """Wait for the whole body; return it, and the step by which it broke off."""
    parts: list[bytes] = []
    for step in steps:
        match step:
            case Send(data):
                parts.append(data)
            case Wait() | Head():
                if isinstance(step, Wait):
                    yield step
            case Raw():
                return b"".join(parts), Close()
            case _:
                return b"".join(parts), step
    return b"".join(parts), None


def _others(head: Head) -> Headers:
    framing = ("content-type", "content-length")
    return tuple(each for each in head.headers if each[0] not in framing)
