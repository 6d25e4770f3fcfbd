"""The job of a load generator, which reads it from standard input."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

UNARY: Final = "unary"
UNARY_NEW: Final = "unary-new"
STREAM: Final = "stream"
SILENT: Final = "silent"
UPLOAD: Final = "upload"
KINDS: Final = frozenset({UNARY, UNARY_NEW, STREAM, SILENT, UPLOAD})


@dataclass(frozen=True, slots=True)
class Job:
    """One run. Times are seconds; the members are those of the JSON job.

    `requests_per_second` None is a closed loop. `events` ends a stream early; without it a stream
    outlasts the run. With connections that do not come up the run begins without them once
    `patience` is over. With `ca_file` the load speaks TLS, to a server named `server_name`.
    """

    port: int
    kind: str
    model: str
    connections: int
    seconds: float
    host: str = "127.0.0.1"
    path: str = "/v1/chat/completions"
    headers: Mapping[str, str] = field(default_factory=dict)
    rate: int = 0
    events: int | None = None
    requests_per_second: float | None = None
    body_bytes: int | None = None
    warmup: float = 0.0
    ramp_per_second: float = 1000.0
    think: float = 0.0
    patience: float = 30.0
    ca_file: str | None = None
    server_name: str | None = None

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"kind is one of {', '.join(sorted(KINDS))}")

    @property
    def events_of_a_stream(self) -> int:
        """The number of events to request of each stream."""
        if self.kind == SILENT:
            return 1
        if self.events is not None:
            return self.events
        ramp = self.connections / self.ramp_per_second
        return int(self.rate * (2 * ramp + self.warmup + self.seconds + 10)) + 1
