"""Requests of any form, and accessors for their errors."""

from __future__ import annotations

import json
from typing import Any

from tests.conduct.seen import Seen
from tests.conduct.served import QUESTION

ALIAS = "chutesai/AutoPilot"
_SAID = [{"role": "user", "content": QUESTION}]


def body(model: object, **members: Any) -> bytes:
    """Return the body of a chat request."""
    return json.dumps({"model": model, "messages": _SAID, **members}).encode()


def detail(seen: Seen) -> object:
    """Return the detail of an error of the platform."""
    return json.loads(seen.body)["detail"]


def code(seen: Seen) -> object:
    """Return the code of an error of the router."""
    return json.loads(seen.body)["error"]["code"]
