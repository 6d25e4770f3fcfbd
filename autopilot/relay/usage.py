"""The token usage that an upstream reports in its answer, and the number of a stream's events.

A plain answer has one ``usage``. In a stream it may stand in each event, as a running total, so the
last one counts. Anthropic's streams report the prompt in their first event, and the answer in the
last but one.

What counts are the tokens that the upstream has reported. Of an answer that broke, or whose client
left, that is the last total before its end; what the upstream generated after that is not known.
Bytes that were held count too, whether another attempt replaced them or the client left before
commit: they had their price.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any, TypeAlias

import msgspec
from msgspec import Meta, Struct

from autopilot.http.dialect import Dialect
from autopilot.request.json_scan import value_of
from autopilot.routing.usage import Usage

OPENING = 2048
"""The first bytes of an answer, in which Anthropic's first event stands."""

ENDING = 65536
"""The last bytes of an answer that was held, in which its usage is sought."""

_MOST = 999_999_999
_Count: TypeAlias = Annotated[int, Meta(ge=0, le=_MOST)]
# A usage in bytes, and the number of places in the bytes of a stream at which one is sought.
_LONGEST, _MOST_PLACES = 2048, 32
_NAME = b'"usage"'
# A member within a JSON string has escaped quotes and does not match.
_USAGE = re.compile(
    rb'"usage"[ \t\r\n]*+:[ \t\r\n]*+(\{[^{}]*+(?>(?:\{[^{}]*+\}[^{}]*+)*)\})',
)


class _Details(Struct, gc=False):
    cached_tokens: _Count | None = None
    reasoning_tokens: _Count | None = None


class _Reported(Struct, gc=False):
    """The counts by the names of all dialects and engines."""

    prompt_tokens: _Count | None = None
    completion_tokens: _Count | None = None
    prompt_tokens_details: _Details | None = None
    completion_tokens_details: _Details | None = None
    reasoning_tokens: _Count | None = None
    cached_tokens: _Count | None = None
    input_tokens: _Count | None = None
    output_tokens: _Count | None = None
    input_tokens_details: _Details | None = None
    output_tokens_details: _Details | None = None
    cache_read_input_tokens: _Count | None = None
    cache_creation_input_tokens: _Count | None = None


_DETAILS = (
    "prompt_tokens_details",
    "completion_tokens_details",
    "input_tokens_details",
    "output_tokens_details",
)
_decode = msgspec.json.Decoder(_Reported | None).decode


def read_usage(raw: bytes) -> Usage | None:
    """Return the counts of a ``usage`` member's value; None if it reports none.

    What is not a whole number from 0 to 999,999,999 is unknown, and so is a number of cached tokens
    that exceeds the prompt's.
    """
    if len(raw) > _LONGEST:
        return None
    try:
        reported = _decode(raw)
    except (ValueError, RecursionError):  # msgspec.DecodeError is a ValueError
        reported = _readable(raw)
    if reported is None:
        return None
    prompt, completion = reported.prompt_tokens, reported.completion_tokens
    if prompt is None and reported.input_tokens is not None:
        # Anthropic's `input_tokens` are those that are in neither of the other counts.
        created = reported.cache_creation_input_tokens or 0
        prompt = reported.input_tokens + (reported.cache_read_input_tokens or 0) + created
    completion = reported.output_tokens if completion is None else completion
    details = reported.prompt_tokens_details or reported.input_tokens_details
    cached = reported.cached_tokens if details is None else details.cached_tokens
    cached = reported.cache_read_input_tokens if cached is None else cached
    if cached is not None and prompt is not None and cached > prompt:
        cached = None
    details = reported.completion_tokens_details or reported.output_tokens_details
    reasoning = None if details is None else details.reasoning_tokens
    reasoning = reported.reasoning_tokens if reasoning is None else reasoning
    if prompt is None and cached is None and completion is None and reasoning is None:
        return None
    return Usage(prompt, cached, completion, reasoning)


def reported_usage(dialect: Dialect, opening: bytes, latest: bytes) -> Usage | None:
    """Return the usage of an answer by its first bytes, ``opening``, and its ``latest`` ones."""
    usage, end = None, len(latest)
    for _ in range(_MOST_PLACES):
        end = latest.rfind(_NAME, 0, end)
        if end < 0:
            break
        match = _USAGE.match(latest, end, end + _LONGEST)
        if match is not None:
            usage = read_usage(match[1])
            if usage is not None:
                break
    # A plain answer has one usage. What its opening has under that name is the input of a tool.
    if dialect is Dialect.MESSAGES and not opening.lstrip().startswith(b"{"):
        return _with_prompt(usage, opening)
    return usage


def _with_prompt(last: Usage | None, opening: bytes) -> Usage | None:
    """Return Anthropic's last usage, completed by what the first one reports about the prompt.

    Some servers repeat the prompt's tokens in the last one, but not how many were cached.
    """
    at = opening.find(_NAME)
    match = _USAGE.match(opening, at) if at >= 0 else None
    first = None if match is None else read_usage(match[1])
    if first is None or last is None:
        return first or last
    prompt = last
    if last.prompt is None or (last.cached is None and first.cached is not None):
        prompt = first
    completion = first.completion if last.completion is None else last.completion
    reasoning = first.reasoning if last.reasoning is None else last.reasoning
    return Usage(prompt.prompt, prompt.cached, completion, reasoning)


def _readable(raw: bytes) -> _Reported | None:
    """Return the counts that are valid, of a value in which something else is not."""
    value = value_of(raw)
    if not isinstance(value, dict):
        return None
    counts = _counts(value)
    for name in _DETAILS:
        inner = value.get(name)
        counts[name] = _counts(inner) if isinstance(inner, dict) else None
    return msgspec.convert(counts, _Reported)


def _counts(value: Mapping[str, Any]) -> dict[str, Any]:
    return {name: each for name, each in value.items() if type(each) is int and 0 <= each <= _MOST}


def count_events(before: bytes, data: bytes) -> int:
    """Return the number of events that end in ``data``, the chunk that follows ``before``.

    An event ends with a blank line, which may begin in ``before``.
    """
    begun = before[-3:]
    return _blank_lines(begun + data) - _blank_lines(begun)


def _blank_lines(data: bytes) -> int:
    """Return the number of blank lines, with any of the line ends of WHATWG HTML §9.2.6.

    A list of them could need twenty times the memory of ``data``.
    """
    return data.replace(b"\r\n", b"\n").replace(b"\r", b"\n").count(b"\n\n")
