"""The error of a failed fetch, and every outcome that a fetch can have."""

from __future__ import annotations

from enum import StrEnum
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
"""Every outcome of a fetch; the metric's label takes its values from here alone."""


class FetchFault(StrEnum):
    """What failed on the way to a response."""

    NAME = "name"
    REFUSED = "refused"
    UNREACHED = "unreached"
    TLS = "tls"
    CONNECT = "connect"
    PROXY = "proxy"
    NOT_HTTP = "not_http"
    TRUNCATED = "truncated"
    COMPRESSED = "compressed"


class FetchError(Exception):
    """What the platform serves could not be fetched or read.

    The text is short and safe to show: no address, no part of the response. `outcome` is one of
    `OUTCOMES`; `fault` and `status` tell apart what one outcome has in common.
    """

    def __init__(
        self,
        outcome: str,
        message: str,
        *,
        fault: FetchFault | None = None,
        status: int | None = None,
    ) -> None:
        super().__init__(message)
        self.outcome = outcome
        self.fault = fault
        self.status = status
