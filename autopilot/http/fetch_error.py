"""Why something of the platform's could not be fetched, in words that are safe to show."""

from __future__ import annotations

from typing import Final

OK: Final = "ok"
NETWORK: Final = "network"
TIMEOUT: Final = "timeout"
STATUS: Final = "status"
TOO_LARGE: Final = "too_large"
JSON: Final = "json"
SHAPE: Final = "shape"
INTERNAL: Final = "internal"
OUTCOMES: Final = frozenset({OK, NETWORK, TIMEOUT, STATUS, TOO_LARGE, JSON, SHAPE, INTERNAL})
"""Every outcome a refresh can have; a metric's label takes its values from here alone."""


class FeedError(Exception):
    """A feed could not be refreshed.

    Its text is short and safe to show: no address, no part of the answer. `outcome` is one of
    `OUTCOMES`.
    """

    def __init__(self, outcome: str, message: str) -> None:
        super().__init__(message)
        self.outcome = outcome
