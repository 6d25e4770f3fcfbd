"""Where the router is, and what the platform behind it has seen of one client."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from uuid import uuid4

import httpx

ALIAS = "chutesai/AutoPilot"
LIST = "stub/503-cold,stub/ok"
TRIP = {"city": "Oslo", "days": 3}
PATIENCE = 20.0

ROUTER = os.environ.get("ROUTER_URL", "")
STUB = os.environ.get("STUB_URL", "")
BASE_URL = f"{ROUTER}/v1"
NARROW_BASE_URL = f"{os.environ.get('NARROW_ROUTER_URL', '')}/v1"
"""Of a router that serves one request at a time."""

HELLO: Any = [{"role": "user", "content": "Hello"}]


class Caller:
    """A client that nobody remembers: its key is how the platform's log tells it from others."""

    def __init__(self) -> None:
        self.key = f"fixture-{uuid4()}"

    def calls(self) -> list[dict[str, Any]]:
        """Its calls that reached the platform, in order."""
        requests = httpx.get(f"{STUB}/stub/log").json()["requests"]
        return [each for each in requests if any(self.key in value for _, value in each["headers"])]

    def models(self) -> list[str]:
        """The models that it asked."""
        return [each["model"] for each in self.calls()]

    def body(self) -> Any:
        """The body of its last call as the platform read it."""
        return json.loads(self.calls()[-1]["body"])

    def left(self) -> None:
        """Wait until the platform has noticed that this caller went, after one call."""
        until(lambda: [each["aborted"] for each in self.calls()] == [True])


def until(true: Callable[[], bool]) -> None:
    """Wait for something to become true, on however slow a machine."""
    end = time.monotonic() + PATIENCE
    while not true():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.02)


def script(model: str, *steps: str) -> None:
    """Let a model play these scenarios, one for each call, and after them a good answer."""
    wanted = {"model": model, "script": steps, "then": "ok"}
    httpx.post(f"{STUB}/stub/scenario", json=wanted).raise_for_status()


@contextmanager
def occupied() -> Iterator[None]:
    """The narrow router, kept busy with a stream."""
    body = {"model": "stub/stall-mid-stream", "messages": [], "stream": True}
    with httpx.stream("POST", f"{NARROW_BASE_URL}/chat/completions", json=body) as response:
        assert response.status_code == 200
        yield
