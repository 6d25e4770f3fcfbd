"""Whether the bytes a client got are one upstream's, all of them, and rightly ended."""

from __future__ import annotations

import re
from itertools import takewhile
from typing import Final

from tests.rigs.soak.notes import error_code
from tests.rigs.soak.speech import NONCE

_EVENT: Final = re.compile(rb'data: (\{"error":\{[^\n]*\}\})\n\n\Z')
_BEGINNING: Final = b'data: {"error":{'
_INTERRUPTED: Final = "upstream_stream_interrupted"
_SHOWN: Final = 60


def split_event(body: bytes) -> tuple[bytes, bool]:
    """What stands before the router's error event, and whether there is one at the end."""
    found = _EVENT.search(body, max(0, len(body) - 2_000))
    if found is None or error_code(found.group(1)) != _INTERRUPTED:
        return body, False
    return body[: found.start()], True


def cut_stream(body: bytes, said: bytes, *, lossy: bool) -> str:
    """What is wrong with a stream that did not end cleanly; `lossy`: the end of it may be lost."""
    rest, told = split_event(body)
    if not told:
        if _is_done(body):  # nothing may follow that
            return differs(body, said, lossy=lossy)
        return "no error event at the end of a cut stream"
    if _is_done(rest):
        return "an error event behind [DONE]"
    candidates = [rest] if _at_boundary(rest) else []
    if rest.endswith(b"\n\n") and not _at_boundary(rest[:-2]):
        candidates.append(rest[:-2])  # the blank line was the router's
    if not candidates:
        return "an error event inside another event"
    complaints = [differs(each, said, lossy=lossy) for each in candidates]
    return complaints[-1] if all(complaints) else ""


def began_event(body: bytes, said: bytes, *, lossy: bool) -> bool:
    """Whether, behind what was said, stands the beginning of an error event."""
    same = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(body, said, strict=False)))
    # The last bytes that are the same may be the event's own.
    for at in range(same, max(-1, same - len(_BEGINNING) - 2), -1):
        event = _BEGINNING if _at_boundary(body[:at]) else b"\n\n" + _BEGINNING
        begun = event.startswith(body[at:]) or body[at:].startswith(event)
        if begun and (lossy or at == len(said)):
            return True
    return False


def differs(body: bytes, said: bytes, *, lossy: bool = False) -> str:
    """How the bytes differ from those said; `lossy`: it is enough that they are the first of them.

    Bytes of another request are named as such.
    """
    if said.startswith(body) if lossy else body == said:
        return ""
    own = set(NONCE.findall(said[:2_000]))
    foreign = set(NONCE.findall(body)) - own
    if own and foreign:
        return f"bytes of another request: {sorted(foreign)[:3]}"
    at = next((n for n, (a, b) in enumerate(zip(body, said, strict=False)) if a != b), None)
    at = min(len(body), len(said)) if at is None else at
    return (
        f"{len(body)} bytes instead of {len(said)}, different from byte {at} on:"
        f" got {bytes(body[at : at + _SHOWN])!r}, expected {bytes(said[at : at + _SHOWN])!r}"
    )


def _is_done(body: bytes) -> bool:
    return body.rstrip().endswith(b"[DONE]")


def _at_boundary(body: bytes) -> bool:
    return not body or body.endswith(b"\n\n")
