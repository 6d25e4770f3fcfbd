"""What the stub was asked, kept so that tests can count upstream calls and compare bytes."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from typing import Any

from stub_backend.steps import Headers

KEPT_BODY_BYTES = 4 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Received:
    """One request as it arrived, and how its response ended.

    `at` is in seconds of the stub's clock. `body` is empty for bodies over 4 MiB; the hash and
    the size always count every byte. `aborted`: the client left before the answer's end.
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

    def header(self, name: str) -> str | None:
        """The first value of a header, whatever the case of its name."""
        found = (value for key, value in self.headers if key.lower() == name.lower())
        return next(found, None)

    def as_json(self) -> dict[str, Any]:
        """The record for `GET /stub/log`; the body as text where it is UTF-8."""
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
        }


class Log(list[Received]):
    """The records in order of arrival. Records are replaced, never changed."""

    _count = 0

    def note(self, at: float, method: str, path: str, headers: Headers, body: bytes) -> Received:
        """Append the record of a request that has just arrived."""
        self._count += 1
        kept = body if len(body) <= KEPT_BODY_BYTES else b""
        digest = hashlib.sha256(body).hexdigest()
        record = Received(self._count, at, method, path, headers, kept, len(body), digest)
        self.append(record)
        return record

    def amend(self, number: int, **changes: Any) -> None:
        """Replace fields of a record; nothing happens when the log was cleared meanwhile."""
        for index in range(len(self) - 1, -1, -1):
            if self[index].number == number:
                self[index] = replace(self[index], **changes)
                return
