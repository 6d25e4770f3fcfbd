"""The raw response of a call; only `observe` reads it, and no code that writes."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Reply:
    """One response. `end` is the way its body ended: complete, truncated, timed out or too long."""

    status: int
    headers: tuple[tuple[str, str], ...] = field(repr=False)
    body: bytes = field(repr=False)
    end: str
    head_seconds: float = 0.0
    total_seconds: float = 0.0

    def header(self, name: str) -> str | None:
        """Return the first value of a header."""
        return next((value for key, value in self.headers if key.lower() == name), None)

    @property
    def media_type(self) -> str:
        """Return the content type without parameters, or `none`."""
        return (self.header("content-type") or "none").partition(";")[0].strip().lower()
