"""Recognition of the upstream error messages that decide about failover.

Errors come in several envelopes: the platform's ``detail`` (a string, an object or a list), an
engine's object nested in it, or OpenAI's ``error``. Only the strings in them are compared. A body
that is not JSON has no strings and never causes a failover.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping

Texts = tuple[str, ...]
"""All strings of an error body, stripped and in lower case."""

TextPredicate = Callable[[Texts], bool]
"""Whether the strings of an error body have one particular meaning.

The first line of its docstring is that meaning as a sentence: the documentation quotes it.
"""

_TEXT_MEMBERS = ("detail", "error", "message", "msg", "code", "type")
_MAX_DEPTH = 4
# The most values in which strings are sought: an upstream may send a list of 20,000 of them.
_MAX_VALUES = 1024
_END = object()

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


def read_error(body: bytes) -> Mapping[str, object]:
    """Return the members of an error body, or none if it is not a JSON object."""
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):  # the latter for JSON nested beyond the parser's stack
        return {}
    return value if isinstance(value, dict) else {}


def texts(error: Mapping[str, object]) -> Texts:
    """Return the strings of an error where envelopes keep them, four levels down at most.

    The search ends after 1,024 values, those that are no strings included.
    """
    found: list[str] = []
    levels: list[Iterator[object]] = [map(error.get, _TEXT_MEMBERS)]
    for _ in range(_MAX_VALUES):
        value = next(levels[-1], _END)
        if value is _END:
            levels.pop()
            if not levels:
                break
        elif isinstance(value, str):
            found.append(value.strip().lower())
        elif len(levels) < _MAX_DEPTH and isinstance(value, dict):
            levels.append(map(value.get, _TEXT_MEMBERS))
        elif len(levels) < _MAX_DEPTH and isinstance(value, list):
            levels.append(iter(value))
    return tuple(found)


def detail_is_text(error: Mapping[str, object]) -> bool:
    """Return whether ``detail`` is a string, as in the platform's reports of exceptions."""
    return isinstance(error.get("detail"), str)


def error_is_the_engines(error: Mapping[str, object]) -> bool:
    """Return whether an error has an ``error`` object and no ``detail``.

    The platform always uses ``detail``, so such an error comes from the engine.
    """
    return isinstance(error.get("error"), dict) and "detail" not in error


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
