"""Anthropic's Messages API, plain and streamed."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from stub_backend.dialect import Dialect, Events, named_event
from stub_backend.generation import Generation, Kind

_STOP_REASONS = {"stop": "end_turn", "length": "max_tokens", "tool_calls": "tool_use"}


def _message(
    generation: Generation, content: list[Any], stop: str | None, output: int
) -> dict[str, Any]:
    return {
        "id": f"msg_{generation.id[-24:]}",
        "type": "message",
        "role": "assistant",
        "model": generation.model,
        "content": content,
        "stop_reason": stop,
        "stop_sequence": None,
        "usage": {
            # Anthropic counts cached tokens beside the others.
            "input_tokens": generation.prompt_tokens - generation.cached_tokens,
            "cache_creation_input_tokens": 0,
            "cache_read_input_tokens": generation.cached_tokens,
            "output_tokens": output,
        },
    }


def _block(generation: Generation, kind: Kind, text: str = "") -> dict[str, Any]:
    if kind is Kind.REASONING:
        return {"type": "thinking", "thinking": text, "signature": ""}
    if kind is Kind.TOOL:
        arguments = json.loads(text) if text else {}
        tool = {
            "id": f"toolu_{generation.id[-20:]}",
            "name": generation.tool_name,
            "input": arguments,
        }
        return {"type": "tool_use"} | tool
    return {"type": "text", "text": text}


def _delta(kind: Kind, text: str) -> dict[str, Any]:
    if kind is Kind.REASONING:
        return {"type": "thinking_delta", "thinking": text}
    if kind is Kind.TOOL:
        return {"type": "input_json_delta", "partial_json": text}
    return {"type": "text_delta", "text": text}


def _start(generation: Generation, index: int, kind: Kind) -> bytes:
    block = _block(generation, kind)
    return named_event({"type": "content_block_start", "index": index, "content_block": block})


def _stop(index: int) -> bytes:
    return named_event({"type": "content_block_stop", "index": index})


def _tokens(generation: Generation) -> Iterator[bytes]:
    index, kind = 0, generation.pieces[0].kind
    for piece in generation.pieces:
        between = b""
        if piece.kind is not kind:
            between = _stop(index) + _start(generation, index + 1, piece.kind)
            index, kind = index + 1, piece.kind
        delta = _delta(kind, piece.text)
        yield between + named_event({"type": "content_block_delta", "index": index, "delta": delta})


def _kinds(generation: Generation) -> list[Kind]:
    """Return the kinds in order of appearance; each becomes one block."""
    if not generation.recited:
        return [Kind.TEXT]
    return list(dict.fromkeys(piece.kind for piece in generation.pieces))


def messages_events(generation: Generation) -> Events:
    """Return a message as a stream of typed events."""
    start = {"type": "message_start", "message": _message(generation, [], None, 1)}
    stop = {
        "stop_reason": _STOP_REASONS.get(generation.finish, generation.finish),
        "stop_sequence": None,
    }
    last = {
        "type": "message_delta",
        "delta": stop,
        "usage": {"output_tokens": len(generation.pieces)},
    }
    return Events(
        opening=(
            named_event(start),
            _start(generation, 0, generation.pieces[0].kind),
            named_event({"type": "ping"}),
        ),
        tokens=_tokens(generation),
        closing=(_stop(len(_kinds(generation)) - 1), named_event(last)),
        done=(named_event({"type": "message_stop"}),),
    )


def messages_whole(generation: Generation) -> dict[str, Any]:
    """Return a message as one JSON object."""
    content = [_block(generation, kind, generation.text(kind)) for kind in _kinds(generation)]
    return _message(
        generation,
        content,
        _STOP_REASONS.get(generation.finish, generation.finish),
        len(generation.pieces),
    )


def error_event(message: str) -> bytes:
    """Return an error event inside a stream."""
    error = {"type": "api_error", "message": message}
    return named_event({"type": "error", "error": error})


MESSAGES = Dialect("messages", messages_events, messages_whole, error_event)


def tokens_whole(generation: Generation) -> dict[str, Any]:
    """Return the count of a prompt's tokens, for which nothing is generated."""
    return {"input_tokens": generation.prompt_tokens}


COUNT_TOKENS = Dialect("count_tokens", messages_events, tokens_whole, error_event)
