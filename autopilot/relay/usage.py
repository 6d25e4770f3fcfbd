"""How much of an answer a stream carried: tokens by the upstream's count, and events."""

from __future__ import annotations

import re

# A key in a text that is quoted within the JSON has its quotes escaped, and does not match.
_COUNTED = re.compile(rb'"(?:completion|output)_tokens"[ \t\r\n]*+:[ \t\r\n]*+([0-9]{1,9})\b')
# A blank line, in each of the line ends that WHATWG HTML §9.2.6 allows.
_EVENT_END = re.compile(rb"\n\n|\r\n\r\n|\r\r")


def answer_tokens(end: bytes) -> int | None:
    """Return the last count in ``end``, the last bytes of an answer; ``None`` if it has none.

    Engines repeat their usage with growing counts, so that only the last one means the whole.
    """
    counts = _COUNTED.findall(end)
    return int(counts[-1]) if counts else None


def count_events(before: bytes, data: bytes) -> int:
    """Return how many events end in ``data``, the chunk behind ``before``.

    An event ends with a blank line, whatever its line ends are and wherever it was cut.
    """
    begun = before[-3:]
    return len(_EVENT_END.findall(begun + data)) - len(_EVENT_END.findall(begun))
