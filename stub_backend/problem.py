"""The error of a call that the platform rejects before a model sees it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Problem:
    """An error of the platform's API; with `detail` None, the plain text of a crashed handler.

    `page` is the HTML of an error from the edge, which has no detail.
    """

    status: int
    detail: object
    page: str | None = None
