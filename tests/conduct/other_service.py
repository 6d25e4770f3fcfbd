"""Another service on the virtual network: OpenAI's manners, and none of the platform's.

Its errors have an ``error`` object and no ``detail``, its streams end lines with CRLF, and it knows
its own key and its own name of the model only.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

from twisted.web.http import Request
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Site

HOST = "192.0.2.2"
MODEL = "vendor/large:free"
WORDS = ("All", "is", "well.")


@dataclass
class Call:
    """One request as it arrived."""

    path: bytes
    fields: list[tuple[bytes, bytes]]
    body: bytes


@dataclass
class Account:
    """The service's one customer, and whether its servers are overloaded."""

    key: str
    overloaded: bool = False
    calls: list[Call] = field(default_factory=list)


class _Api(Resource):
    isLeaf = True

    def __init__(self, account: Account) -> None:
        super().__init__()
        self._account = account

    def render_POST(self, request: Any) -> object:
        """Answer a chat completion."""
        account, body = self._account, request.content.read()
        fields = [
            (name, value)
            for name, values in request.requestHeaders.getAllRawHeaders()
            for value in values
        ]
        account.calls.append(Call(request.uri, fields, body))
        request.setHeader(b"x-ratelimit-remaining-requests", b"3")
        given = request.getHeader(b"authorization") or b""
        if given != b"Bearer " + account.key.encode():
            return _error(request, 401, f"Incorrect API key provided: {given.decode()}")
        asked = json.loads(body)
        if asked["model"] != MODEL:
            return _error(request, 404, "The model does not exist.")
        if account.overloaded:
            return _error(request, 503, f"Overloaded. Your key is {account.key}.")
        if asked.get("stream"):
            return _stream(request)
        message = {"role": "assistant", "content": " ".join(WORDS)}
        request.setHeader(b"content-type", b"application/json; charset=utf-8")
        answer = {"choices": [{"index": 0, "message": message, "finish_reason": "stop"}]}
        return json.dumps({"id": "1", "model": MODEL, "usage": _USAGE, **answer}).encode()


_USAGE = {"prompt_tokens": 5, "completion_tokens": 3, "total_tokens": 8}


def _error(request: Request, status: int, message: str) -> bytes:
    request.setResponseCode(status)
    request.setHeader(b"content-type", b"application/json")
    return json.dumps({"error": {"message": message, "type": "x", "code": None}}).encode()


def _stream(request: Request) -> object:
    request.setHeader(b"content-type", b"text/event-stream; charset=utf-8")
    request.write(b": processing\r\n\r\n")
    for word in WORDS:
        request.write(_event({"delta": {"content": f"{word} "}, "finish_reason": None}))
    request.write(_event({"delta": {}, "finish_reason": "stop"}))
    request.write(b"data: [DONE]\r\n\r\n")
    request.finish()
    return NOT_DONE_YET


def _event(choice: dict[str, Any]) -> bytes:
    event = {"id": "1", "model": MODEL, "choices": [{"index": 0, **choice}]}
    return b"data: %b\r\n\r\n" % json.dumps(event).encode()


def other_site(account: Account) -> Site:
    """Return the service."""
    return Site(_Api(account), timeout=None)
