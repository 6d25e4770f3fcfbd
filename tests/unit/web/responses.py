"""A strict parser of responses."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from autopilot.http.headers import BODILESS

UUID = r"\A[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\Z"


@dataclass(frozen=True)
class Response:
    """One response; ``whole`` says whether its framing marks its end."""

    version: str
    status: int
    fields: list[tuple[bytes, bytes]]
    body: bytes
    whole: bool

    def values(self, name: bytes) -> list[bytes]:
        """Return the values of a field."""
        return [value for key, value in self.fields if key.lower() == name]

    def value(self, name: bytes) -> bytes | None:
        """Return the value of a field that occurs at most once."""
        values = self.values(name)
        assert len(values) <= 1, values
        return values[0] if values else None

    @property
    def identity(self) -> str:
        """The request id."""
        return (self.value(b"x-request-id") or b"").decode("latin-1")

    @property
    def json(self) -> Any:
        """The body as JSON, which must be its content type."""
        assert self.value(b"content-type") == b"application/json"
        return json.loads(self.body)

    @property
    def error(self) -> tuple[int, str, str]:
        """Status, type and code of an error in OpenAI's format."""
        assert set(self.json) >= {"error"}
        error = self.json["error"]
        assert set(error) == {"type", "message", "param", "code"}
        return self.status, error["type"], error["code"]


def responses(wire: bytes, *, head_only: bool = False) -> list[Response]:
    """Return all responses in these bytes."""
    found = []
    while wire:
        response, wire = _response(wire, head_only)
        found.append(response)
    return found


def _response(wire: bytes, head_only: bool) -> tuple[Response, bytes]:
    head, end, rest = wire.partition(b"\r\n\r\n")
    assert end, wire
    line, *lines = head.split(b"\r\n")
    version, status_text, *_ = line.decode("ascii").split(" ", 2)
    status = int(status_text)
    fields = [(name, value) for name, _, value in (each.partition(b": ") for each in lines)]
    lower = {name.lower(): value for name, value in fields}
    whole = True
    if head_only or status < 200 or status in BODILESS:
        body = b""
    elif lower.get(b"transfer-encoding") == b"chunked":
        body, rest, whole = _chunks(rest)
    elif b"content-length" in lower:
        length = int(lower[b"content-length"])
        body, rest = rest[:length], rest[length:]
        whole = len(body) == length
    else:
        body, rest, whole = rest, b"", False
    return Response(version, status, fields, body, whole), rest


def _chunks(rest: bytes) -> tuple[bytes, bytes, bool]:
    body = b""
    while rest:
        size_text, _, rest = rest.partition(b"\r\n")
        size = int(size_text, 16)
        if size == 0:
            assert rest.startswith(b"\r\n")
            return body, rest[2:], True
        body += rest[:size]
        rest = rest[size + 2 :]
    return body, b"", False
