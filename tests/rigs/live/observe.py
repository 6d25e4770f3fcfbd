"""A redacted response: its properties, without any received value."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tests.rigs.live.events import Stream, read_stream
from tests.rigs.live.redact import Redactor
from tests.rigs.live.reply import Reply
from tests.rigs.live.skeleton import Skeleton, skeleton_of

SSE = "text/event-stream"
JSON = "application/json"
HTML = "text/html"


@dataclass(frozen=True, slots=True)
class Observation:
    """Status, head and body of one response, redacted. `end` is the way the body ended."""

    status: int
    content_type: str
    headers: Mapping[str, str]
    body: str
    end: str
    skeleton: Skeleton = field(default_factory=dict)
    text: str | None = None
    stream: Stream | None = None
    size: int = 0
    head_ms: int = 0
    total_ms: int = 0

    def as_json(self) -> dict[str, Any]:
        """Return the observation for a capture."""
        told: dict[str, Any] = {
            "status": self.status,
            "content_type": self.content_type,
            "headers": dict(sorted(self.headers.items())),
            "body": {"kind": self.body, "bytes": self.size, "end": self.end},
            "ms": {"head": self.head_ms, "total": self.total_ms},
        }
        if self.text is not None:
            told["body"]["text"] = self.text
        if self.skeleton:
            told["body"]["skeleton"] = _skeleton(self.skeleton)
        if self.stream is not None:
            shapes = self.stream.shapes.items()
            told["body"]["stream"] = {
                "kinds": self.stream.kinds,
                "events": self.stream.events,
                "chunk_ids": self.stream.ids,
                "shapes": {kind: _skeleton(shape) for kind, shape in sorted(shapes)},
            }
        return told


def observe(reply: Reply, redactor: Redactor) -> Observation:
    """Return the redacted observation of a reply."""
    media = reply.media_type
    headers = {
        redactor.name(name.lower()): redactor.header(name, value) for name, value in reply.headers
    }
    content_type = redactor.text(media)
    kind, rest = _body(media, reply.body, redactor)
    return Observation(
        status=reply.status,
        content_type=content_type,
        headers=headers,
        body=kind,
        end=reply.end,
        size=len(reply.body),
        head_ms=round(reply.head_seconds * 1000),
        total_ms=round(reply.total_seconds * 1000),
        **rest,
    )


def page_kind(body: bytes) -> str:
    """Return whose HTML page it is; its text is ignored."""
    if b"<center>nginx" in body:
        return "page of the ingress"
    return "page of the front end" if body.lstrip()[:1] == b"<" else "text"


def _body(media: str, body: bytes, redactor: Redactor) -> tuple[str, dict[str, Any]]:
    if not body:
        return "empty", {}
    if media == SSE:
        return "stream", {"stream": read_stream(body, redactor)}
    if media == HTML:
        return page_kind(body), {}
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):
        text = redactor.text(body[:2000].decode("utf-8", "replace"))
        return "text" if media != JSON else "broken JSON", {"text": text}
    return "JSON", {"skeleton": skeleton_of([value], redactor)}


def _skeleton(skeleton: Skeleton) -> dict[str, str]:
    return {path: str(facts) for path, facts in sorted(skeleton.items())}
