"""The commit points of contract §6, at which a response is released to the client."""

from __future__ import annotations

from enum import StrEnum


class Commit(StrEnum):
    """How much of a 2xx response must have arrived before the client receives any of it."""

    BYTE = "byte"
    CONTENT = "content"
    COMPLETE = "complete"
