"""The router's address, and the platform's log of one client."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from html import unescape
from typing import Any
from uuid import uuid4

import httpx
import pytest

ALIAS = "chutesai/AutoPilot"
LIST = "stub/503-cold,stub/ok"
# Silent for longer than the second after which a router begins such a stream with a comment.
SLOW_LIST = "stub/503-cold,stub/slow-head"
BRIDGED = {"X-Autopilot-Keepalive": "1000"}
TRIP = {"city": "Oslo", "days": 3}
PATIENCE = 20.0

ROUTER = os.environ.get("ROUTER_URL", "")
STUB = os.environ.get("STUB_URL", "")
BASE_URL = f"{ROUTER}/v1"
PRIVATE_BASE_URL = f"{os.environ.get('PRIVATE_ROUTER_URL', '')}/v1"
"""The address of a router that encrypts each request."""
either = pytest.mark.parametrize("base_url", [BASE_URL, PRIVATE_BASE_URL], ids=["plain", "private"])
"""Marks a test that a router in private mode must pass as it is."""

NARROW_BASE_URL = f"{os.environ.get('NARROW_ROUTER_URL', '')}/v1"
"""The address of a router that serves one request at a time."""

# Discovery is limited to a few a minute, and serves one key only.
_PRIVATE_KEY = f"cpk_private-{uuid4()}.sdk.tests"

HELLO: Any = [{"role": "user", "content": "Hello"}]


class Caller:
    """A new client, which the platform's log identifies by its key, and by its time."""

    def __init__(self, base_url: str = BASE_URL) -> None:
        private = base_url == PRIVATE_BASE_URL
        self.key = _PRIVATE_KEY if private else f"cpk_{uuid4()}.sdk.tests"
        self._before = len(self._posts()) if private else 0

    def calls(self) -> list[dict[str, Any]]:
        """Return its upstream calls in order."""
        return self._posts()[self._before :]

    def _posts(self) -> list[dict[str, Any]]:
        requests = httpx.get(f"{STUB}/stub/log").json()["requests"]
        return [
            each
            for each in requests
            if each["method"] == "POST" and any(self.key in value for _, value in each["headers"])
        ]

    def models(self) -> list[str]:
        """Return the models of its calls."""
        return [each["model"] for each in self.calls()]

    def body(self) -> Any:
        """Return the body of its last call as a model's instance received it."""
        last = self.calls()[-1]
        if self.key == _PRIVATE_KEY:
            return httpx.get(f"{STUB}/stub/opened").json()[str(last["number"])]
        return json.loads(last["body"])

    def left(self) -> None:
        """Wait until the platform has recorded the caller's disconnect, after one call."""
        until(lambda: [each["aborted"] for each in self.calls()] == [True])


def run_example(title: str) -> None:
    """Run the lines that the router's page at `/` shows for one client."""
    page = httpx.get(f"{ROUTER}/", headers={"Accept": "text/html"}).text
    code = page.partition(f"<h2>{title}</h2><pre><code>")[2].partition("</code>")[0]
    exec(compile(unescape(code), title, "exec"), {})  # noqa: S102  the router's own page


def until(true: Callable[[], bool]) -> None:
    """Poll until the condition is true, even on a slow machine."""
    end = time.monotonic() + PATIENCE
    while not true():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.02)


def script(model: str, *steps: str) -> None:
    """Script a model: one scenario for each call, and a valid answer for later ones."""
    wanted = {"model": model, "script": steps, "then": "ok"}
    httpx.post(f"{STUB}/stub/scenario", json=wanted).raise_for_status()


@contextmanager
def occupied() -> Iterator[None]:
    """Keep the narrow router busy with a stream."""
    body = {"model": "stub/stall-mid-stream", "messages": [], "stream": True}
    with httpx.stream("POST", f"{NARROW_BASE_URL}/chat/completions", json=body) as response:
        assert response.status_code == 200
        yield
