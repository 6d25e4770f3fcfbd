"""OpenAI's chat and text completions, in SGLang's and in vLLM's format."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Any

from stub_backend.dialect import Dialect, Events, data_event
from stub_backend.generation import CREATED, Generation, Kind, Piece

DONE = b"data: [DONE]\n\n"


def usage(generation: Generation, completion: int, *, final: bool = False) -> dict[str, Any] | None:
    """Return the running usage after `completion` tokens, with the engine's members.

    None before the end of a generation whose usage only the last chunk reports.
    """
    if not (generation.counted or final):
        return None
    totals: dict[str, Any] = {
        "prompt_tokens": generation.prompt_tokens,
        "completion_tokens": completion,
        "total_tokens": generation.prompt_tokens + completion,
    }
    cached = {"cached_tokens": generation.cached_tokens} if final else None
    if generation.engine == "sglang":
        totals["reasoning_tokens"] = min(generation.reasoning_tokens, completion)
    return totals | {"prompt_tokens_details": cached}


def _verification(generation: Generation, index: int) -> str:
    return hashlib.sha256(f"{generation.id}/{index}".encode()).hexdigest()[:32]


def _envelope(generation: Generation, kind: str, choices: list[Any], index: int) -> dict[str, Any]:
    frame = {
        "id": generation.id,
        "object": kind,
        "created": CREATED,
        "model": generation.model,
        "choices": choices,
    }
    extra: dict[str, Any] = {"chutes_verification": _verification(generation, index)}
    if generation.engine == "sglang":
        extra["metadata"] = {"weight_version": "default"}
    return frame | extra | dict(generation.marks)


def _ending(generation: Generation, finish: str | None) -> dict[str, Any]:
    """Return the members of a choice that say how it ended."""
    if generation.engine == "sglang":
        stop = 151645 if finish == "stop" else None
        return {"logprobs": None, "finish_reason": finish, "matched_stop": stop}
    return {"logprobs": None, "finish_reason": finish, "stop_reason": None}


def _chunk(
    generation: Generation, delta: dict[str, Any], index: int, finish: str | None = None
) -> dict[str, Any]:
    choice = {"index": 0, "delta": delta} | _ending(generation, finish)
    return _envelope(generation, "chat.completion.chunk", [choice], index)


def _role_delta(generation: Generation) -> dict[str, Any]:
    delta: dict[str, Any] = {"role": "assistant", "content": ""}
    if generation.engine == "sglang":
        delta |= {"reasoning_content": None, "tool_calls": None}
    return delta


def reasoning_member(generation: Generation) -> str:
    """Return the name of the member that the engine uses for reasoning."""
    return "reasoning_content" if generation.engine == "sglang" else "reasoning"


def _tool_call(generation: Generation, arguments: str, *, named: bool) -> dict[str, Any]:
    call: dict[str, Any] = {"index": 0, "function": {"arguments": arguments}}
    if named:
        call |= {"id": f"call_{generation.id[-12:]}", "type": "function"}
        call["function"] = {"name": generation.tool_name, "arguments": arguments}
    return call


def _delta(generation: Generation, piece: Piece, *, first_of_kind: bool) -> dict[str, Any]:
    if piece.kind is Kind.TOOL:
        return {"tool_calls": [_tool_call(generation, piece.text, named=first_of_kind)]}
    if piece.kind is Kind.REASONING:
        return {reasoning_member(generation): piece.text}
    return {"content": piece.text}


def _chat_tokens(generation: Generation) -> Iterator[bytes]:
    before: Kind | None = None
    for index, piece in enumerate(generation.pieces, start=1):
        delta = _delta(generation, piece, first_of_kind=piece.kind is not before)
        yield data_event(_chunk(generation, delta, index) | _running_usage(generation, index))
        before = piece.kind


def _running_usage(generation: Generation, completion: int) -> dict[str, Any]:
    """Return the member of a chunk with choices; vLLM leaves it out where SGLang sends null."""
    totals = usage(generation, completion)
    return {} if totals is None and generation.engine == "vllm" else {"usage": totals}


def _final_usage(generation: Generation, kind: str) -> tuple[bytes, ...]:
    """Return the chunk of usage, if there is one."""
    if not generation.reported:
        return ()
    count = len(generation.pieces)
    frame = _envelope(generation, kind, [], count + 2)
    return (data_event(frame | {"usage": usage(generation, count, final=True)}),)


def chat_events(generation: Generation) -> Events:
    """Return a chat completion as a stream."""
    count = len(generation.pieces)
    end = _chunk(generation, {}, count + 1, generation.finish) | _running_usage(generation, count)
    unknown = {} if _running_usage(generation, 0) == {} else {"usage": None}
    return Events(
        opening=(data_event(_chunk(generation, _role_delta(generation), 0) | unknown),),
        tokens=_chat_tokens(generation),
        closing=(data_event(end), *_final_usage(generation, "chat.completion.chunk")),
        done=(DONE,),
    )


def chat_whole(generation: Generation) -> dict[str, Any]:
    """Return a chat completion as one JSON object."""
    message: dict[str, Any] = {"role": "assistant", "content": generation.text(Kind.TEXT) or None}
    message[reasoning_member(generation)] = generation.text(Kind.REASONING) or None
    arguments = generation.text(Kind.TOOL)
    message["tool_calls"] = [_tool_call(generation, arguments, named=True)] if arguments else None
    choice = {"index": 0, "message": message} | _ending(generation, generation.finish)
    frame = _envelope(generation, "chat.completion", [choice], 0)
    return frame | {"usage": usage(generation, len(generation.pieces), final=True)}


def _text_choice(generation: Generation, text: str, finish: str | None) -> dict[str, Any]:
    return {"index": 0, "text": text} | _ending(generation, finish)


def _text_tokens(generation: Generation) -> Iterator[bytes]:
    for index, piece in enumerate(generation.pieces, start=1):
        choice = _text_choice(generation, piece.text, None)
        frame = _envelope(generation, "text_completion", [choice], index)
        yield data_event(frame | _running_usage(generation, index))


def text_events(generation: Generation) -> Events:
    """Return a text completion as a stream, which has no role event."""
    end = _envelope(
        generation, "text_completion", [_text_choice(generation, "", generation.finish)], 0
    )
    return Events(
        opening=(),
        tokens=_text_tokens(generation),
        closing=(data_event(end), *_final_usage(generation, "text_completion")),
        done=(DONE,),
    )


def text_whole(generation: Generation) -> dict[str, Any]:
    """Return a text completion as one JSON object."""
    choice = _text_choice(generation, generation.text(Kind.TEXT), generation.finish)
    frame = _envelope(generation, "text_completion", [choice], 0)
    return frame | {"usage": usage(generation, len(generation.pieces), final=True)}


def error_event(message: str) -> bytes:
    """Return an engine's error event inside a stream."""
    error = {"object": "error", "message": message, "type": "InternalServerError"}
    return data_event({"error": error | {"param": None, "code": 500}})


CHAT = Dialect("chat", chat_events, chat_whole, error_event)
TEXT = Dialect("text", text_events, text_whole, error_event)
