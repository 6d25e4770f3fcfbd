"""How many tokens an answer has, as the upstream itself counts them at the end of its stream."""

from __future__ import annotations

import re

# A key in a text that is quoted within the JSON has its quotes escaped, and does not match.
_COUNTED = re.compile(rb'"(?:completion|output)_tokens"[ \t\r\n]*+:[ \t\r\n]*+([0-9]{1,9})\b')


def answer_tokens(end: bytes) -> int | None:
    """The last count in ``end``, the last bytes of an answer; ``None`` where there is none.

    Engines repeat their usage with growing counts, so that only the last one means the whole.
    """
    counts = _COUNTED.findall(end)
    return int(counts[-1]) if counts else None
