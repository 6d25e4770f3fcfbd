"""The log of received requests, from which tests count upstream calls and compare bytes."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from typing import Any

from stub_backend.steps import Headers

KEPT_BODY_BYTES = 4 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Received:
    """One received request, and the state of its response.

    `at` is in seconds of the stub's clock. `body` is empty for bodies over 4 MiB; the hash and
    the size always cover every byte. `aborted`: the client disconnected before the end. `reused`:
    the connection carried another request before.
    """

    number: int
    at: float
    method: str
    path: str
    headers: Headers
    body: bytes
    body_bytes: int
    body_sha256: str
    model: str | None = None
    scenario: str | None = None
    stream: bool | None = None
    status: int | None = None
    ended: bool = False
    aborted: bool = False
    reused: bool = False

    def header(self, name: str) -> str | None:
        """Return the first value of a header; the name is case-insensitive."""
        found = (value for key, value in self.headers if key.lower() == name.lower())
        return next(found, None)

    def as_json(self) -> dict[str, Any]:
        """Return the record for `GET /stub/log`, with the body decoded as UTF-8."""
        return {
            "number": self.number,
            "at": self.at,
            "method": self.method,
            "path": self.path,
            "model": self.model,
            "scenario": self.scenario,
            "stream": self.stream,
            "headers": [list(pair) for pair in self.headers],
            "body": self.body.decode("utf-8", "replace"),
            "body_bytes": self.body_bytes,
            "body_sha256": self.body_sha256,
            "status": self.status,
            "ended": self.ended,
            "aborted": self.aborted,
            "reused": self.reused,
        }


class Log(list[Received]):
    """The records in order of arrival; they are immutable, so `amend` replaces them.

    `opened` has what instances read in sealed requests, by number: the gateway's records do not.
    """

    _count = 0

    def __init__(self) -> None:
        super().__init__()
        self.opened: dict[int, dict[str, Any]] = {}

    def clear(self) -> None:
        """Forget all requests."""
        super().clear()
        self.opened.clear()

    def note(
        self,
        at: float,
        method: str,
        path: str,
        headers: Headers,
        body: bytes,
        *,
        reused: bool = False,
    ) -> Received:
        """Append the record of a request that has just arrived."""
        self._count += 1
        kept = body if len(body) <= KEPT_BODY_BYTES else b""
        digest = hashlib.sha256(body).hexdigest()
        record = Received(
            self._count, at, method, path, headers, kept, len(body), digest, reused=reused
        )
        self.append(record)
        return record

    def amend(self, number: int, **changes: Any) -> None:
        """Replace fields of a record, unless the log has been cleared since."""
        for index in range(len(self) - 1, -1, -1):
            if self[index].number == number:
                self[index] = replace(self[index], **changes)
                return
