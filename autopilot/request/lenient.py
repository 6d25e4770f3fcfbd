"""JSON values out of texts that others wrote, where "cannot be read" is an answer.

Strict decoders refuse two things that real servers and clients send: half of a surrogate pair, and
``NaN`` or an infinity among log probabilities. Nothing here is ever sent on; it is only looked at.
"""

from __future__ import annotations

import json
from typing import Any

import msgspec


def value_of(text: bytes | msgspec.Raw) -> Any:
    """The value, or ``None`` (also the value of ``null``) when ``text`` cannot be read."""
    try:
        return msgspec.json.decode(text)
    except RecursionError:
        return None
    except ValueError:  # msgspec's own errors and UnicodeDecodeError are both of this kind
        pass
    try:
        return json.loads(str(text, "utf-8"))
    except (ValueError, RecursionError):
        return None
