"""Why a call is refused before any model sees it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Problem:
    """A refusal of the application. `detail` None is the bare text page of a broken handler."""

    status: int
    detail: object
