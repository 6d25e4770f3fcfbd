"""What an upstream error says, and whether that is one of the texts that matter.

Error bodies come in many envelopes: the platform's ``detail`` (a text, an object or a list), an
engine's object inside it, OpenAI's ``error``. Only their texts are looked at. A body that cannot be
read says nothing, and nothing is no reason to turn to another model.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator

Texts = tuple[str, ...]
"""All texts of an error body, in lower case."""

Says = Callable[[Texts], bool]
"""Whether an error says one particular thing."""

_TELLING_MEMBERS = ("detail", "error", "message", "msg", "code", "type")
_DEEPEST = 4

_CAPACITY = ("infrastructure is at maximum capacity",)
_NO_TARGET_LEFT = (
    "exhausted all available targets",
    "no infrastructure available to serve request",
    "no result returned from upstream",
    "unhandled error generating response",
)
_MODEL_NOT_FOUND = ("model not found",)

# One line per family: SGLang, vLLM, TGI and Mistral, OpenAI, Anthropic, llama.cpp. The platform
# puts its own words in front of an engine's text, so these are looked for anywhere in it.
_CONTEXT_EXCEEDED = (
    *("model's context length", "exceeds the maximum allowed length", "maximum context length"),
    *("maximum model length", "too long to fit into the model", "prompt length exceeds"),
    *("`inputs` tokens + `max_new_tokens` must be", "maximum input length"),
    *("context_length_exceeded", "context length exceeded", "exceeds the context window"),
    *(
        "context window exceeded",
        "exceeds the model's context",
        "reduce the length of the messages",
    ),
    *("prompt is too long", "input is too long", "exceed context limit"),
    *("exceeds the available context size", "exceed_context_size_error"),
)


def texts(body: bytes) -> Texts:
    """The texts of an error body; none if it is not a JSON object."""
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):
        return ()
    return tuple(_walk(value, _DEEPEST)) if isinstance(value, dict) else ()


def at_capacity(said: Texts) -> bool:
    """This model has no free slot just now."""
    return _starts(said, _CAPACITY)


def no_target_left(said: Texts) -> bool:
    """All replicas of this model failed."""
    return _starts(said, _NO_TARGET_LEFT)


def model_not_found(said: Texts) -> bool:
    """The platform does not serve this model, or not any more."""
    return _starts(said, _MODEL_NOT_FOUND)


def context_exceeded(said: Texts) -> bool:
    """The request is longer than this model can read."""
    return any(phrase in text for text in said for phrase in _CONTEXT_EXCEEDED)


def _starts(said: Texts, openings: tuple[str, ...]) -> bool:
    """Whether one of the texts starts with one of ``openings``."""
    return any(text.startswith(openings) for text in said)


def _walk(value: object, depth: int) -> Iterator[str]:
    """The texts at the places where error envelopes keep them."""
    if isinstance(value, str):
        yield value.strip().lower()
    elif depth > 0 and isinstance(value, dict):
        for member in _TELLING_MEMBERS:
            yield from _walk(value.get(member), depth - 1)
    elif depth > 0 and isinstance(value, list):
        for item in value:
            yield from _walk(item, depth - 1)
