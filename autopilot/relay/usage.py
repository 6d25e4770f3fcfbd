"""Counts of a relayed answer: tokens as the upstream reports them, and events."""

from __future__ import annotations

import re

# A key inside a JSON string has escaped quotes and does not match.
_COUNTED = re.compile(rb'"(?:completion|output)_tokens"[ \t\r\n]*+:[ \t\r\n]*+([0-9]{1,9})\b')


def answer_tokens(end: bytes) -> int | None:
    """Return the last token count in ``end``, the last bytes of an answer; ``None`` without one.

    Some servers report a growing count in every event, so only the last one covers the answer.
    """
    counts = _COUNTED.findall(end)
    return int(counts[-1]) if counts else None


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
