"""Anthropic's Messages API, plain and streamed."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from stub_backend.dialect import Dialect, Events, named_event
from stub_backend.generation import Generation, Kind

_STOP_REASONS = {"stop": "end_turn", "length": "max_tokens", "tool_calls": "tool_use"}


def _message(said: Generation, content: list[Any], stop: str | None, output: int) -> dict[str, Any]:
    return {
        "id": f"msg_{said.id[-24:]}",
        "type": "message",
        "role": "assistant",
        "model": said.model,
        "content": content,
        "stop_reason": stop,
        "stop_sequence": None,
        "usage": {"input_tokens": said.prompt_tokens, "output_tokens": output},
    }


def _block(said: Generation, kind: Kind, text: str = "") -> dict[str, Any]:
    if kind is Kind.REASONING:
        return {"type": "thinking", "thinking": text, "signature": ""}
    if kind is Kind.TOOL:
        arguments = json.loads(text) if text else {}
        tool = {"id": f"toolu_{said.id[-20:]}", "name": said.tool_name, "input": arguments}
        return {"type": "tool_use"} | tool
    return {"type": "text", "text": text}


def _delta(kind: Kind, text: str) -> dict[str, Any]:
    if kind is Kind.REASONING:
        return {"type": "thinking_delta", "thinking": text}
    if kind is Kind.TOOL:
        return {"type": "input_json_delta", "partial_json": text}
    return {"type": "text_delta", "text": text}


def _start(said: Generation, index: int, kind: Kind) -> bytes:
    block = _block(said, kind)
    return named_event({"type": "content_block_start", "index": index, "content_block": block})


def _stop(index: int) -> bytes:
    return named_event({"type": "content_block_stop", "index": index})


def _tokens(said: Generation) -> Iterator[bytes]:
    index, kind = 0, said.pieces[0].kind
    for piece in said.pieces:
        between = b""
        if piece.kind is not kind:
            between = _stop(index) + _start(said, index + 1, piece.kind)
            index, kind = index + 1, piece.kind
        delta = _delta(kind, piece.text)
        yield between + named_event({"type": "content_block_delta", "index": index, "delta": delta})


def _kinds(said: Generation) -> list[Kind]:
    """The kinds in the order they come; each is one block."""
    if not said.recited:
        return [Kind.TEXT]
    return list(dict.fromkeys(piece.kind for piece in said.pieces))


def messages_events(said: Generation) -> Events:
    """A message as a stream of typed events."""
    start = {"type": "message_start", "message": _message(said, [], None, 1)}
    stop = {"stop_reason": _STOP_REASONS[said.finish], "stop_sequence": None}
    last = {"type": "message_delta", "delta": stop, "usage": {"output_tokens": len(said.pieces)}}
    return Events(
        opening=(
            named_event(start),
            _start(said, 0, said.pieces[0].kind),
            named_event({"type": "ping"}),
        ),
        tokens=_tokens(said),
        closing=(_stop(len(_kinds(said)) - 1), named_event(last)),
        done=(named_event({"type": "message_stop"}),),
    )


def messages_whole(said: Generation) -> dict[str, Any]:
    """A message in one piece."""
    content = [_block(said, kind, said.text(kind)) for kind in _kinds(said)]
    return _message(said, content, _STOP_REASONS[said.finish], len(said.pieces))


def error_event(message: str) -> bytes:
    """An error inside a stream."""
    error = {"type": "api_error", "message": message}
    return named_event({"type": "error", "error": error})


MESSAGES = Dialect("messages", messages_events, messages_whole, error_event)
