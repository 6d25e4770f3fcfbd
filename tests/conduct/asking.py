"""Requests of any shape, and what the errors that come back say."""

from __future__ import annotations

import json
from typing import Any

from tests.conduct.seen import Seen
from tests.conduct.served import QUESTION

ALIAS = "chutesai/AutoPilot"
_SAID = [{"role": "user", "content": QUESTION}]


def body(model: object, **members: Any) -> bytes:
    """A chat request."""
    return json.dumps({"model": model, "messages": _SAID, **members}).encode()


def detail(seen: Seen) -> object:
    """What the platform's own error says."""
    return json.loads(seen.body)["detail"]


def code(seen: Seen) -> object:
    """The code of the router's own error."""
    return json.loads(seen.body)["error"]["code"]
