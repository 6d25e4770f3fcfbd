"""A stream as a sequence of kinds of events, with a skeleton of each kind."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from tests.rigs.live.redact import Redactor
from tests.rigs.live.skeleton import Skeleton, skeleton_of

DONE = "[DONE]"
BARE = "bare JSON"
BROKEN = "broken JSON"
COMMENT = "comment"


@dataclass(slots=True)
class Stream:
    """`kinds` in order, without repetitions; `shapes` by kind; `ids` is the number of chunk ids."""

    kinds: list[str] = field(default_factory=list)
    shapes: dict[str, Skeleton] = field(default_factory=dict)
    events: int = 0
    ids: int = 0
    end: str = ""


def read_stream(body: bytes, redactor: Redactor) -> Stream:
    """Return the kinds of events in a stream."""
    stream = Stream()
    values: dict[str, list[Any]] = {}
    ids: set[str] = set()
    last = ""
    for name, data in blocks(body):
        kind, value = _read(name, data)
        kind = kind if kind in (DONE, BARE, BROKEN, COMMENT) else redactor.text(kind)
        stream.events += 1
        last = kind
        if not stream.kinds or stream.kinds[-1] != kind:
            stream.kinds.append(kind)
        if isinstance(value, dict):
            values.setdefault(kind, []).append(value)
            ids.add(str(value.get("id")))
    stream.shapes = {kind: skeleton_of(each, redactor) for kind, each in values.items()}
    stream.ids = len(ids)
    stream.end = last or "nothing"
    return stream


def blocks(body: bytes) -> Iterator[tuple[str, str]]:
    """Yield the name and the data of each block; comments and bare text have special names."""
    text = body.decode("utf-8", "replace").replace("\r\n", "\n")
    for block in text.split("\n\n"):
        lines = [each for each in block.split("\n") if each]
        data = [each[5:].removeprefix(" ") for each in lines if each.startswith("data:")]
        names = [each[6:].strip() for each in lines if each.startswith("event:")]
        if any(each.startswith(":") for each in lines):
            yield COMMENT, ""
        if data:
            yield names[-1] if names else "", "\n".join(data)
        known = ("data:", "event:", ":", "id:", "retry:")
        bare = [each for each in lines if not each.startswith(known)]
        if bare:
            yield BARE, "\n".join(bare)


def _read(name: str, data: str) -> tuple[str, Any]:
    if name == COMMENT:
        return COMMENT, None
    if data.strip() == DONE:
        return DONE, None
    try:
        value = json.loads(data)
    except (ValueError, RecursionError):
        return BROKEN, None
    if name:
        return name, value
    return chunk_kind(value), value


def chunk_kind(value: Any) -> str:
    """Return the purpose of a completion chunk."""
    if not isinstance(value, dict):
        return "other"
    if "error" in value:
        return "error"
    choices = value.get("choices")
    if not isinstance(choices, list):
        return "other"
    if not choices or not isinstance(choices[0], dict):
        return "usage"
    return _choice_kind(choices[0])


def _choice_kind(choice: dict[str, Any]) -> str:
    if choice.get("finish_reason") is not None:
        return "finish"
    delta = choice.get("delta")
    said = delta if isinstance(delta, dict) else choice
    if said.get("reasoning_content") or said.get("reasoning"):
        return "reasoning"
    if said.get("tool_calls"):
        return "tool call"
    if said.get("content") or said.get("text"):
        return "content"
    return "role" if "role" in said else "empty"
