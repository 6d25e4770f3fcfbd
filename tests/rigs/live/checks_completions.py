"""Checks that make a model generate a few tokens."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from tests.rigs.live.check import ANY_MODEL, Check, Cost
from tests.rigs.live.facts import served_facts
from tests.rigs.live.model_choice import Cast, Model, NoSuchModelError
from tests.rigs.live.request import CHAT, Ask, Auth, Host, tiny

TEXT = "/v1/completions"
MESSAGES = "/v1/messages"
RESPONSES = "/v1/responses"
THINKING = {"sglang": "reasoning", "vllm": "reasoning-vllm"}

_CITY = {"type": "object", "properties": {"city": {"type": "string"}}}
_TOOL = {
    "tools": [{"type": "function", "function": {"name": "weather", "parameters": _CITY}}],
    "tool_choice": {"type": "function", "function": {"name": "weather"}},
}


def _call(
    name: str,
    what: str,
    model: Callable[[Cast], str],
    *,
    path: str = CHAT,
    host: Host = Host.LLM,
    stream: bool = False,
    headers: tuple[tuple[str, str], ...] = (),
    auth: Auth = Auth.KEY,
    members: Mapping[str, Any] | None = None,
    **more: Any,
) -> Check:
    def build(cast: Cast) -> Ask:
        body = tiny(model(cast), path=path, stream=stream, **(members or {}))
        return Ask(host=host, path=path, auth=auth, headers=headers, body=body)

    return Check(id=name, what=what, cost=Cost.TINY, build=build, **more)


def _on(engine: str, *, stream: bool) -> Check:
    how = "stream" if stream else "plain"
    return _call(
        f"chat-{how}-{engine}",
        f"a chat on {engine}, {'streamed' if stream else 'in one piece'}",
        lambda cast: cast.by(engine).name,
        stream=stream,
        likes=(THINKING[engine], "extra-keys") if stream else (THINKING[engine],),
    )


def _usual(cast: Cast) -> str:
    return cast.usual().name


def _both(cast: Cast) -> str:
    return f"{cast.usual().name},{cast.second().name}"


def _without_suffix(cast: Cast) -> str:
    """Return a TEE model's name without its suffix, if no model has that name."""
    if cast.alone:
        return cast.usual().name
    names = {each.name for each in cast.models}
    stems = (each.name.removesuffix("-TEE") for each in cast.models if each.name.endswith("-TEE"))
    stem = next((each for each in stems if each not in names), None)
    if stem is None:
        raise NoSuchModelError("the catalog has no name with the suffix -TEE")
    return stem


def _id(model: Model) -> str:
    return model.chute_id


CHECKS: tuple[Check, ...] = (
    _on("sglang", stream=True),
    _on("sglang", stream=False),
    _on("vllm", stream=True),
    _on("vllm", stream=False),
    _call("text-stream", "a text completion, streamed", _usual, path=TEXT, stream=True,
          likes=ANY_MODEL),
    _call("text-plain", "a text completion in one piece", _usual, path=TEXT,
          likes=ANY_MODEL, on_request=True),
    _call("list", "a list of two models", _both, facts=served_facts,
          likes=ANY_MODEL),
    _call("list-latency", "a list ordered by latency", lambda cast: _both(cast) + ":latency",
          facts=served_facts, likes=ANY_MODEL),
    _call("throughput", "one model with :throughput", lambda cast: _usual(cast) + ":throughput",
          likes=ANY_MODEL, on_request=True),
    _call("premium", "one model with :premium", lambda cast: _usual(cast) + ":premium"),
    _call("thinking", "one model with :THINKING", lambda cast: _usual(cast) + ":THINKING",
          likes=ANY_MODEL, on_request=True),
    _call("chute-id", "a model by its chute id", lambda cast: _id(cast.usual()),
          likes=ANY_MODEL),
    _call("name-without-tee", "a TEE model without its suffix", _without_suffix,
          likes=(*ANY_MODEL, "404-model")),
    _call("scheme-word", "a key behind another word than Bearer", _usual,
          auth=Auth.OTHER_SCHEME, likes=ANY_MODEL, on_request=True),
    _call("tool-call", "a tool that must be called", _usual, stream=True, members=_TOOL,
          likes=("tool-call", "tool-call-vllm"), on_request=True),
    _call("trace", "a chat with X-Chutes-Trace", _usual, stream=True,
          headers=(("X-Chutes-Trace", "true"),), likes=("trace-envelope",), on_request=True),
    _call("messages", "Anthropic's API on its own host", _usual, path=MESSAGES,
          host=Host.MESSAGES, stream=True),
    _call("responses", "the Responses API on its own host", _usual, path=RESPONSES,
          host=Host.RESPONSES, stream=True),
    _call("messages-on-llm", "Anthropic's API on the usual host", _usual, path=MESSAGES),
    _call("responses-on-llm", "the Responses API on the usual host", _usual, path=RESPONSES),
)  # fmt: skip
