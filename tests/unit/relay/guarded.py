"""Events for the guards of committed streams, and what they let pass of them."""

from __future__ import annotations

import json
from typing import Any

from autopilot.http.dialect import Dialect
from autopilot.relay.sse_guard import GuardLevel, StreamGuard, stream_guard


def chunk(*choices: Any, id: str | None = "a1") -> bytes:
    """A chat completion chunk."""
    return f"data: {json.dumps({'id': id, 'choices': choices})}\n\n".encode()


def delta(index: int = 0, finish_reason: str | None = None, **delta: Any) -> dict[str, Any]:
    """One choice."""
    return {"index": index, "delta": delta, "finish_reason": finish_reason}


DONE = b"data: [DONE]\n\n"


def compact(value: object) -> bytes:
    """An event as engines write it, without blanks."""
    return b"data: " + json.dumps(value, separators=(",", ":")).encode() + b"\n\n"


ROLE = chunk(delta(role="assistant", content=""))
HELLO = chunk(delta(content="Hello"))
HEALTHY = b": ping\n\n" + ROLE + HELLO + chunk(delta(finish_reason="stop")) + chunk() + DONE
BARE = b'{"error":"Unhandled exception during response stream: no target\\nTraceback"}'


def guard_at(
    level: GuardLevel = GuardLevel.ON, dialect: Dialect = Dialect.COMPLETIONS
) -> StreamGuard:
    """Return the guard of an event stream."""
    return stream_guard(level, is_stream=True, dialect=dialect)


def relayed_by(made: StreamGuard, *chunks: bytes) -> bytes:
    """Return what a guard passes of a stream and its clean end."""
    return b"".join(made.feed(data) for data in chunks) + made.end()


def typed(kind: str, **members: object) -> bytes:
    """An event whose type is its name."""
    return b"event: %b\ndata: %b\n\n" % (
        kind.encode(),
        json.dumps({"type": kind, **members}).encode(),
    )


STOP = chunk(delta(finish_reason="stop"))
FAILED = chunk(delta(finish_reason="network_error"))
