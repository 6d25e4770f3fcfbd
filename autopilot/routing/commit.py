"""When a response becomes the client's: the commit points of contract §6."""

from __future__ import annotations

from enum import StrEnum


class Commit(StrEnum):
    """How much of a 2xx response must be there before the client sees any of it."""

    BYTE = "byte"
    CONTENT = "content"
    COMPLETE = "complete"
