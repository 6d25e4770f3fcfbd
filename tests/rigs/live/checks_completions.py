"""Checks that make a model generate a few tokens."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from tests.rigs.live.check import ANY_MODEL, Check, Cost
from tests.rigs.live.facts import served_facts
from tests.rigs.live.model_choice import Model, ModelChoice, NoSuchModelError
from tests.rigs.live.request import CHAT, Auth, Host, LiveRequest, tiny

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
    model: Callable[[ModelChoice], str],
    *,
    path: str = CHAT,
    host: Host = Host.LLM,
    stream: bool = False,
    headers: tuple[tuple[str, str], ...] = (),
    auth: Auth = Auth.KEY,
    members: Mapping[str, Any] | None = None,
    **more: Any,
) -> Check:
    def build(choice: ModelChoice) -> LiveRequest:
        body = tiny(model(choice), path=path, stream=stream, **(members or {}))
        return LiveRequest(host=host, path=path, auth=auth, headers=headers, body=body)

    return Check(id=name, what=what, cost=Cost.TINY, build=build, **more)


def _on(engine: str, *, stream: bool) -> Check:
    how = "stream" if stream else "plain"
    return _call(
        f"chat-{how}-{engine}",
        f"a chat on {engine}, {'streamed' if stream else 'in one piece'}",
        lambda choice: choice.by(engine).name,
        stream=stream,
        accepted=(THINKING[engine], "extra-keys") if stream else (THINKING[engine],),
    )


def _usual(choice: ModelChoice) -> str:
    return choice.usual().name


def _both(choice: ModelChoice) -> str:
    return f"{choice.usual().name},{choice.second().name}"


def _without_suffix(choice: ModelChoice) -> str:
    """Return a TEE model's name without its suffix, if no model has that name."""
    if choice.alone:
        return choice.usual().name
    names = {each.name for each in choice.models}
    stems = (each.name.removesuffix("-TEE") for each in choice.models if each.name.endswith("-TEE"))
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
          accepted=ANY_MODEL),
    _call("text-plain", "a text completion in one piece", _usual, path=TEXT,
          accepted=ANY_MODEL, on_request=True),
    _call("list", "a list of two models", _both, facts=served_facts,
          accepted=ANY_MODEL),
    _call("list-latency", "a list ordered by latency", lambda choice: _both(choice) + ":latency",
          facts=served_facts, accepted=ANY_MODEL),
    _call("throughput", "one model with :throughput", lambda choice: _usual(choice) + ":throughput",
          accepted=ANY_MODEL, on_request=True),
    _call("premium", "one model with :premium", lambda choice: _usual(choice) + ":premium"),
    _call("thinking", "one model with :THINKING", lambda choice: _usual(choice) + ":THINKING",
          accepted=ANY_MODEL, on_request=True),
    _call("chute-id", "a model by its chute id", lambda choice: _id(choice.usual()),
          accepted=ANY_MODEL),
    _call("name-without-tee", "a TEE model without its suffix", _without_suffix,
          accepted=(*ANY_MODEL, "404-model")),
    _call("scheme-word", "a key behind another word than Bearer", _usual,
          auth=Auth.OTHER_SCHEME, accepted=ANY_MODEL, on_request=True),
    _call("tool-call", "a tool that must be called", _usual, stream=True, members=_TOOL,
          accepted=("tool-call", "tool-call-vllm"), on_request=True),
    _call("trace", "a chat with X-Chutes-Trace", _usual, stream=True,
          headers=(("X-Chutes-Trace", "true"),), accepted=("trace-envelope",), on_request=True),
    _call("messages", "Anthropic's API on its own host", _usual, path=MESSAGES,
          host=Host.MESSAGES, stream=True),
    _call("responses", "the Responses API on its own host", _usual, path=RESPONSES,
          host=Host.RESPONSES, stream=True),
    _call("messages-on-llm", "Anthropic's API on the usual host", _usual, path=MESSAGES),
    _call("responses-on-llm", "the Responses API on the usual host", _usual, path=RESPONSES),
)  # fmt: skip
