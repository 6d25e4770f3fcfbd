"""OpenAI's Responses API, plain and streamed."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from typing import Any

from stub_backend.dialect import Dialect, Events, named_event
from stub_backend.generation import CREATED, Generation, Kind

_DELTA_TYPES = {
    Kind.TEXT: "response.output_text",
    Kind.REASONING: "response.reasoning_text",
    Kind.TOOL: "response.function_call_arguments",
}


# By OpenAI's finish reason, where a response did not complete.
_STATUSES = {
    "abort": "cancelled",
    "cancelled": "cancelled",
    "error": "failed",
    "network_error": "failed",
}
_FAILED = {"code": "server_error", "message": "The engine gave up."}


def _usage(generation: Generation) -> dict[str, Any]:
    output = len(generation.pieces)
    return {
        "input_tokens": generation.prompt_tokens,
        "input_tokens_details": {"cached_tokens": generation.cached_tokens},
        "output_tokens": output,
        "output_tokens_details": {"reasoning_tokens": generation.reasoning_tokens},
        "total_tokens": generation.prompt_tokens + output,
    }


def _response(generation: Generation, status: str, output: list[Any]) -> dict[str, Any]:
    done = status == "completed"
    return {
        "id": f"resp_{generation.id[-24:]}",
        "object": "response",
        "created_at": CREATED,
        "status": status,
        "error": _FAILED if status == "failed" else None,
        "incomplete_details": None,
        "instructions": None,
        "model": generation.model,
        "output": output,
        "parallel_tool_calls": True,
        "tool_choice": "auto",
        "tools": [],
        "usage": _usage(generation) if done else None,
    }


def _part(kind: Kind, text: str) -> dict[str, Any]:
    if kind is Kind.REASONING:
        return {"type": "reasoning_text", "text": text}
    return {"type": "output_text", "text": text, "annotations": []}


def _item(generation: Generation, kind: Kind, text: str, status: str) -> dict[str, Any]:
    if kind is Kind.TOOL:
        call = {
            "call_id": f"call_{generation.id[-12:]}",
            "name": generation.tool_name,
            "arguments": text,
        }
        return {"type": "function_call", "id": _item_id(generation, kind), "status": status} | call
    content = [_part(kind, text)] if status == "completed" else []
    if kind is Kind.REASONING:
        return {
            "type": "reasoning",
            "id": _item_id(generation, kind),
            "summary": [],
            "content": content,
        }
    head = {
        "type": "message",
        "id": _item_id(generation, kind),
        "status": status,
        "role": "assistant",
    }
    return head | {"content": content}


def _item_id(generation: Generation, kind: Kind) -> str:
    return f"{kind}_{generation.id[-16:]}"


def _kinds(generation: Generation) -> list[Kind]:
    if not generation.recited:
        return [Kind.TEXT]
    return list(dict.fromkeys(piece.kind for piece in generation.pieces))


class _Numbered:
    """Creates the events of one stream, numbered in sequence."""

    def __init__(self, generation: Generation) -> None:
        self._said = generation
        self._numbers = count()

    def event(self, kind: str, **members: Any) -> bytes:
        return named_event({"type": kind, "sequence_number": next(self._numbers)} | members)

    def started(self, index: int, kind: Kind) -> bytes:
        item = _item(self._said, kind, "", "in_progress")
        added = self.event("response.output_item.added", output_index=index, item=item)
        if kind is Kind.TOOL:
            return added
        return added + self._part_event("added", index, kind, "")

    def stopped(self, index: int, kind: Kind) -> bytes:
        text = self._said.text(kind)
        generation = self._text_event("done", index, kind, text)
        if kind is not Kind.TOOL:
            generation += self._part_event("done", index, kind, text)
        item = _item(self._said, kind, text, "completed")
        return generation + self.event("response.output_item.done", output_index=index, item=item)

    def delta(self, index: int, kind: Kind, text: str) -> bytes:
        return self._text_event("delta", index, kind, text)

    def _where(self, index: int, kind: Kind) -> dict[str, Any]:
        where = {"item_id": _item_id(self._said, kind), "output_index": index}
        return where if kind is Kind.TOOL else where | {"content_index": 0}

    def _part_event(self, what: str, index: int, kind: Kind, text: str) -> bytes:
        name = f"response.content_part.{what}"
        return self.event(name, **self._where(index, kind), part=_part(kind, text))

    def _text_event(self, what: str, index: int, kind: Kind, text: str) -> bytes:
        whole = "arguments" if kind is Kind.TOOL else "text"
        member = {"delta" if what == "delta" else whole: text}
        return self.event(f"{_DELTA_TYPES[kind]}.{what}", **self._where(index, kind), **member)


def _tokens(generation: Generation, numbered: _Numbered) -> Iterator[bytes]:
    index, kind = 0, generation.pieces[0].kind
    for piece in generation.pieces:
        between = b""
        if piece.kind is not kind:
            between = numbered.stopped(index, kind) + numbered.started(index + 1, piece.kind)
            index, kind = index + 1, piece.kind
        yield between + numbered.delta(index, kind, piece.text)


def _closing(generation: Generation, numbered: _Numbered) -> Iterator[bytes]:
    kinds = _kinds(generation)
    yield numbered.stopped(len(kinds) - 1, kinds[-1])


def _done(generation: Generation, numbered: _Numbered) -> Iterator[bytes]:
    whole = responses_whole(generation)
    yield numbered.event(f"response.{whole['status']}", response=whole)


def responses_events(generation: Generation) -> Events:
    """Return a response as a stream of typed events."""
    numbered = _Numbered(generation)
    created = numbered.event("response.created", response=_response(generation, "in_progress", []))
    working = numbered.event(
        "response.in_progress", response=_response(generation, "in_progress", [])
    )
    opening = (created, working, numbered.started(0, generation.pieces[0].kind))
    return Events(
        opening=opening,
        tokens=_tokens(generation, numbered),
        closing=_closing(generation, numbered),
        done=_done(generation, numbered),
    )


def responses_whole(generation: Generation) -> dict[str, Any]:
    """Return a response as one JSON object."""
    output = [
        _item(generation, kind, generation.text(kind), "completed") for kind in _kinds(generation)
    ]
    return _response(generation, _STATUSES.get(generation.finish, "completed"), output)


def error_event(message: str) -> bytes:
    """Return an error event inside a stream."""
    return named_event({"type": "error", "code": "server_error", "message": message, "param": None})


RESPONSES = Dialect("responses", responses_events, responses_whole, error_event)
