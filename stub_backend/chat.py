"""OpenAI's chat and text completions, as SGLang and as vLLM write them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Any

from stub_backend.dialect import Dialect, Events, data_event
from stub_backend.generation import CREATED, Generation, Kind, Piece

DONE = b"data: [DONE]\n\n"


def usage(said: Generation, completion: int, *, final: bool = False) -> dict[str, Any] | None:
    """Running totals after `completion` tokens, with the members the engine has; None before the
    end of a generation that is not counted as it goes.
    """
    if not (said.counted or final):
        return None
    totals: dict[str, Any] = {
        "prompt_tokens": said.prompt_tokens,
        "completion_tokens": completion,
        "total_tokens": said.prompt_tokens + completion,
    }
    cached = {"cached_tokens": 0} if final else None
    if said.engine == "sglang":
        totals["reasoning_tokens"] = min(said.reasoning_tokens, completion)
    return totals | {"prompt_tokens_details": cached}


def _verification(said: Generation, index: int) -> str:
    return hashlib.sha256(f"{said.id}/{index}".encode()).hexdigest()[:32]


def _envelope(said: Generation, kind: str, choices: list[Any], index: int) -> dict[str, Any]:
    frame = {
        "id": said.id,
        "object": kind,
        "created": CREATED,
        "model": said.model,
        "choices": choices,
    }
    extra: dict[str, Any] = {"chutes_verification": _verification(said, index)}
    if said.engine == "sglang":
        extra["metadata"] = {"weight_version": "default"}
    return frame | extra | dict(said.marks)


def _ending(said: Generation, finish: str | None) -> dict[str, Any]:
    """The members of a choice that tell how it ended."""
    if said.engine == "sglang":
        stop = 151645 if finish == "stop" else None
        return {"logprobs": None, "finish_reason": finish, "matched_stop": stop}
    return {"logprobs": None, "finish_reason": finish, "stop_reason": None}


def _chunk(
    said: Generation, delta: dict[str, Any], index: int, finish: str | None = None
) -> dict[str, Any]:
    choice = {"index": 0, "delta": delta} | _ending(said, finish)
    return _envelope(said, "chat.completion.chunk", [choice], index)


def _role_delta(said: Generation) -> dict[str, Any]:
    delta: dict[str, Any] = {"role": "assistant", "content": ""}
    if said.engine == "sglang":
        delta |= {"reasoning_content": None, "tool_calls": None}
    return delta


def reasoning_member(said: Generation) -> str:
    """Return the member in which the engine puts reasoning."""
    return "reasoning_content" if said.engine == "sglang" else "reasoning"


def _tool_call(said: Generation, arguments: str, *, named: bool) -> dict[str, Any]:
    call: dict[str, Any] = {"index": 0, "function": {"arguments": arguments}}
    if named:
        call |= {"id": f"call_{said.id[-12:]}", "type": "function"}
        call["function"] = {"name": said.tool_name, "arguments": arguments}
    return call


def _delta(said: Generation, piece: Piece, *, first_of_kind: bool) -> dict[str, Any]:
    if piece.kind is Kind.TOOL:
        return {"tool_calls": [_tool_call(said, piece.text, named=first_of_kind)]}
    if piece.kind is Kind.REASONING:
        return {reasoning_member(said): piece.text}
    return {"content": piece.text}


def _chat_tokens(said: Generation) -> Iterator[bytes]:
    before: Kind | None = None
    for index, piece in enumerate(said.pieces, start=1):
        delta = _delta(said, piece, first_of_kind=piece.kind is not before)
        yield data_event(_chunk(said, delta, index) | {"usage": usage(said, index)})
        before = piece.kind


def _final_usage(said: Generation, kind: str) -> bytes:
    count = len(said.pieces)
    frame = _envelope(said, kind, [], count + 2)
    return data_event(frame | {"usage": usage(said, count, final=True)})


def chat_events(said: Generation) -> Events:
    """A chat completion as a stream."""
    count = len(said.pieces)
    end = _chunk(said, {}, count + 1, said.finish) | {"usage": usage(said, count)}
    return Events(
        opening=(data_event(_chunk(said, _role_delta(said), 0) | {"usage": None}),),
        tokens=_chat_tokens(said),
        closing=(data_event(end), _final_usage(said, "chat.completion.chunk")),
        done=(DONE,),
    )


def chat_whole(said: Generation) -> dict[str, Any]:
    """A chat completion in one piece."""
    message: dict[str, Any] = {"role": "assistant", "content": said.text(Kind.TEXT) or None}
    message[reasoning_member(said)] = said.text(Kind.REASONING) or None
    arguments = said.text(Kind.TOOL)
    message["tool_calls"] = [_tool_call(said, arguments, named=True)] if arguments else None
    choice = {"index": 0, "message": message} | _ending(said, said.finish)
    frame = _envelope(said, "chat.completion", [choice], 0)
    return frame | {"usage": usage(said, len(said.pieces), final=True)}


def _text_choice(said: Generation, text: str, finish: str | None) -> dict[str, Any]:
    return {"index": 0, "text": text} | _ending(said, finish)


def _text_tokens(said: Generation) -> Iterator[bytes]:
    for index, piece in enumerate(said.pieces, start=1):
        choice = _text_choice(said, piece.text, None)
        frame = _envelope(said, "text_completion", [choice], index)
        yield data_event(frame | {"usage": usage(said, index)})


def text_events(said: Generation) -> Events:
    """A text completion as a stream; there is no role event."""
    end = _envelope(said, "text_completion", [_text_choice(said, "", said.finish)], 0)
    return Events(
        opening=(),
        tokens=_text_tokens(said),
        closing=(data_event(end), _final_usage(said, "text_completion")),
        done=(DONE,),
    )


def text_whole(said: Generation) -> dict[str, Any]:
    """A text completion in one piece."""
    choice = _text_choice(said, said.text(Kind.TEXT), said.finish)
    frame = _envelope(said, "text_completion", [choice], 0)
    return frame | {"usage": usage(said, len(said.pieces), final=True)}


def error_event(message: str) -> bytes:
    """An engine's own error inside a stream."""
    error = {"object": "error", "message": message, "type": "InternalServerError"}
    return data_event({"error": error | {"param": None, "code": 500}})


CHAT = Dialect("chat", chat_events, chat_whole, error_event)
TEXT = Dialect("text", text_events, text_whole, error_event)
