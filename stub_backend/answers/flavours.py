"""Successful responses in each engine's format: text, reasoning, tool calls, usage."""

from __future__ import annotations

from collections.abc import Mapping

from stub_backend.call import Call
from stub_backend.generation import Kind, Piece, thought, tool_arguments
from stub_backend.scenario import Scenario, answered, enveloped, healthy, streamed
from stub_backend.steps import Steps

_MARKS: Mapping[str, str] = {
    "prompt_sha256": "5" * 64,
    "template_sha256": "7" * 64,
    "of_next_year": "unknown",
}


def reasoning(call: Call) -> Steps:
    """Six tokens of reasoning before the text."""
    return answered(call, call.generate(thought(6) + call.pieces()))


def tool_call(call: Call) -> Steps:
    """A call of the first tool offered, its arguments in fragments."""
    generation = call.generate(tool_arguments(), finish="tool_calls", tool_name=_tool_name(call))
    return answered(call, generation)


def structured(call: Call) -> Steps:
    """The same arguments as text, as structured output for a schema of a city and days."""
    pieces = tuple(Piece(Kind.TEXT, piece.text) for piece in tool_arguments())
    return answered(call, call.generate(pieces))


def usage_last(call: Call) -> Steps:
    """Usage in the last chunk only, as engines send it by default."""
    return answered(call, call.generate(call.pieces(), counted=False))


def usage_asked(call: Call) -> Steps:
    """Usage in the last chunk only, and only if the caller asks, as engines do by themselves."""
    reported = call.asks_usage or not call.stream
    return answered(call, call.generate(call.pieces(), counted=False, reported=reported))


def marked(call: Call) -> Steps:
    """Members in every chunk that no API defines."""
    return answered(call, call.generate(call.pieces(), marks=_MARKS))


def trace_envelope(call: Call) -> Steps:
    """The response in a trace's envelopes, although the caller requested no trace."""
    return streamed(call, enveloped(call, call.generation()))


def _tool_name(call: Call) -> str:
    tools = call.body.get("tools")
    tool = tools[0] if isinstance(tools, list) and tools else None
    if not isinstance(tool, dict):
        return "lookup"
    function = tool.get("function")
    named = function if isinstance(function, dict) else tool
    return str(named.get("name", "lookup"))


FLAVOURS: tuple[Scenario, ...] = (
    Scenario("ok", "a successful response in SGLang's format", healthy),
    Scenario("ok-vllm", "a successful response in vLLM's format", healthy, engine="vllm"),
    Scenario("reasoning", "reasoning before the text, as SGLang sends it", reasoning),
    Scenario("reasoning-vllm", "reasoning before the text, as vLLM sends it", reasoning,
             engine="vllm"),
    Scenario("tool-call", "a tool call, its arguments in fragments", tool_call),
    Scenario("tool-call-vllm", "the same, as vLLM sends it", tool_call, engine="vllm"),
    Scenario("structured", "a JSON object of a city and a number of days as the text", structured),
    Scenario("usage-last", "usage in the last chunk only", usage_last),
    Scenario("usage-asked", "usage in the last chunk, if the caller asks", usage_asked),
    Scenario("usage-asked-vllm", "the same, as vLLM sends it", usage_asked, engine="vllm"),
    Scenario("extra-keys", "members in every chunk that no API defines", marked),
    Scenario("trace-envelope", "the response in a trace's envelopes", trace_envelope),
)  # fmt: skip
