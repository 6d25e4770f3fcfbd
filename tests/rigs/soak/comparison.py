"""Comparison of the bytes that a client received with those that the upstream sent."""

from __future__ import annotations

import json
import re
from itertools import takewhile
from typing import Final

from tests.rigs.soak.generation import NONCE
from tests.rigs.soak.observations import error_code

_EVENT: Final = re.compile(rb'data: (\{"error":\{[^\n]*\}\})\n\n\Z')
_BEGINNING: Final = b'data: {"error":{'
_BROKEN: Final = frozenset({"upstream_stream_interrupted", "upstream_empty"})
_FINISH: Final = re.compile(rb'"finish_reason":"stop"[^\n]*\n\n')
_ENGINES_ERROR: Final = b'data: {"object":"error"'
_SHOWN: Final = 60


def split_event(body: bytes) -> tuple[bytes, bool]:
    """Split off the router's error event; return the rest, and whether there was one."""
    found = _EVENT.search(body, max(0, len(body) - 2_000))
    if found is None or error_code(found.group(1)) not in _BROKEN:
        return body, False
    return body[: found.start()], True


def cut_stream(body: bytes, sent_body: bytes, *, lossy: bool) -> str:
    """Return what is wrong with a stream that did not end cleanly, or an empty string.

    With `lossy`, the end of the stream may be missing.
    """
    rest, has_event = split_event(body)
    if not has_event:
        # Nothing may follow the terminator, half an event, or the engine's own error.
        if is_finished(body) or not _at_boundary(body) or _ENGINES_ERROR in body:
            return differs(body, sent_body, lossy=lossy)
        return "no error event at the end of a cut stream"
    if is_finished(rest):
        return "an error event behind a whole answer"
    if not _at_boundary(rest):
        return "an error event inside another event"
    return differs(rest, sent_body, lossy=lossy)


def ends_in_event(body: bytes, sent_body: bytes, *, lossy: bool) -> bool:
    """Return whether the bytes end in the beginning of an error event."""
    same = sum(
        1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(body, sent_body, strict=False))
    )
    # The last equal bytes may already belong to the event.
    for at in range(same, max(-1, same - len(_BEGINNING)), -1):
        begun = _BEGINNING.startswith(body[at:]) or body[at:].startswith(_BEGINNING)
        if begun and _at_boundary(body[:at]) and (lossy or at == len(sent_body)):
            return True
    return False


def differs(body: bytes, sent_body: bytes, *, lossy: bool = False) -> str:
    """Describe how the bytes differ from those sent, or return an empty string.

    With `lossy`, a prefix is enough. Bytes of another request are reported as such.
    """
    if sent_body.startswith(body) if lossy else body == sent_body:
        return ""
    own = set(NONCE.findall(sent_body[:2_000]))
    foreign = set(NONCE.findall(body)) - own
    if own and foreign:
        return f"bytes of another request: {sorted(foreign)[:3]}"
    at = next((n for n, (a, b) in enumerate(zip(body, sent_body, strict=False)) if a != b), None)
    at = min(len(body), len(sent_body)) if at is None else at
    return (
        f"{len(body)} bytes instead of {len(sent_body)}, different from byte {at} on:"
        f" got {bytes(body[at : at + _SHOWN])!r}, expected {bytes(sent_body[at : at + _SHOWN])!r}"
    )


def shaped_error(body: bytes, status: int | None) -> bytes:
    """Return an error of the platform with the `error` that the router adds, else the body."""
    if (
        status is None
        or status < 400
        or not body.startswith(b'{"detail": ')
        or not body.endswith(b"}")
    ):
        return body
    usual = "server_error" if status >= 500 else "invalid_request_error"
    error = {
        "type": "rate_limit_error" if status == 429 else usual,
        "message": json.loads(body)["detail"],
        "param": None,
        "code": None,
    }
    member = json.dumps(error, ensure_ascii=False, separators=(",", ":")).encode()
    return b'%b,"error":%b}' % (body[:-1], member)


def is_finished(body: bytes) -> bool:
    """Return whether nothing of the answer is missing: `[DONE]` or a finish reason has arrived."""
    return body.endswith(b"[DONE]\n\n") or _FINISH.search(body) is not None


def _at_boundary(body: bytes) -> bool:
    return not body or body.endswith(b"\n\n")
