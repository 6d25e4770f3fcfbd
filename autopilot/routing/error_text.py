"""Recognition of the upstream error messages that decide about failover.

Errors come in several envelopes: the platform's ``detail`` (a string, an object or a list), an
engine's object nested in it, or OpenAI's ``error``. Only the strings in them are compared. A body
that is not JSON has no strings and never causes a failover.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator

Texts = tuple[str, ...]
"""All strings of an error body, stripped and in lower case."""

TextPredicate = Callable[[Texts], bool]
"""Whether the strings of an error body have one particular meaning.

The first line of its docstring is that meaning as a sentence: the documentation quotes it.
"""

_TEXT_MEMBERS = ("detail", "error", "message", "msg", "code", "type")
_MAX_DEPTH = 4

_CAPACITY = ("infrastructure is at maximum capacity",)
_NO_TARGET_LEFT = (
    "exhausted all available targets",
    "no infrastructure available to serve request",
    "no result returned from upstream",
    "unhandled error generating response",
)
_MODEL_NOT_FOUND = ("model not found",)

# One line per family: SGLang, vLLM, TGI and Mistral, OpenAI, Anthropic, llama.cpp. The platform
# prefixes an engine's message with its own, so these phrases may occur anywhere in the text.
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
    """Return the strings of an error body, or none if it is not a JSON object."""
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):  # the latter for JSON nested beyond the parser's stack
        return ()
    return tuple(_collect(value, _MAX_DEPTH)) if isinstance(value, dict) else ()


def detail_is_text(body: bytes) -> bool:
    """Return whether ``detail`` is a string, as in the platform's reports of exceptions."""
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):  # see `texts`
        return False
    return isinstance(value, dict) and isinstance(value.get("detail"), str)


def error_is_the_engines(body: bytes) -> bool:
    """Return whether the body has an ``error`` object and no ``detail``.

    The platform always uses ``detail``, so such an error comes from the engine.
    """
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):  # see `texts`
        return False
    return (
        isinstance(value, dict) and isinstance(value.get("error"), dict) and "detail" not in value
    )


def at_capacity(error_texts: Texts) -> bool:
    """The platform has no free slot for this model at the moment."""
    return _any_starts_with(error_texts, _CAPACITY)


def no_target_left(error_texts: Texts) -> bool:
    """Every replica of this model failed."""
    return _any_starts_with(error_texts, _NO_TARGET_LEFT)


def model_not_found(error_texts: Texts) -> bool:
    """The platform does not serve this model, or no longer serves it."""
    return _any_starts_with(error_texts, _MODEL_NOT_FOUND)


def context_exceeded(error_texts: Texts) -> bool:
    """The request exceeds the context length of this model."""
    return any(phrase in text for text in error_texts for phrase in _CONTEXT_EXCEEDED)


def _any_starts_with(error_texts: Texts, openings: tuple[str, ...]) -> bool:
    """Return whether any string starts with one of ``openings``."""
    return any(text.startswith(openings) for text in error_texts)


def _collect(value: object, depth: int) -> Iterator[str]:
    """Yield the strings where error envelopes keep them, at most ``depth`` levels down."""
    if isinstance(value, str):
        yield value.strip().lower()
    elif depth > 0 and isinstance(value, dict):
        for member in _TEXT_MEMBERS:
            yield from _collect(value.get(member), depth - 1)
    elif depth > 0 and isinstance(value, list):
        for item in value:
            yield from _collect(item, depth - 1)
