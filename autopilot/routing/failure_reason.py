"""Why an attempt failed: one closed set for records, metrics, traces and response headers."""

from __future__ import annotations

from enum import StrEnum
from typing import Final


class FailureReason(StrEnum):
    """What ended an attempt (contract §10). Its values are safe as those of a metric label."""

    __hash__ = str.__hash__  # of an enum it is a call of Python

    DNS_ERROR = "dns_error"
    CONNECT_REFUSED = "connect_refused"
    CONNECT_ERROR = "connect_error"
    CONNECT_TIMEOUT = "connect_timeout"
    PROXY_ERROR = "proxy_error"
    TLS_ERROR = "tls_error"
    CONNECTION_LOST = "connection_lost"
    PROTOCOL_ERROR = "protocol_error"
    HEADER_TIMEOUT = "header_timeout"
    FIRST_BODY_BYTE_TIMEOUT = "first_body_byte_timeout"
    PLAIN_TIMEOUT = "plain_timeout"
    STALLED = "stalled"
    ERROR_EVENT = "error_event"
    GAVE_UP = "gave_up"
    NO_TERMINATOR = "no_terminator"
    CUT = "cut"
    INVALID_EVENT = "invalid_event"
    EMPTY = "empty"
    CODED = "coded"
    TOTAL_DEADLINE = "total_deadline"
    STATUS_402 = "status_402"
    STATUS_429 = "status_429"
    CAPACITY = "capacity"
    CONTEXT = "context"
    NOT_FOUND = "not_found"
    NOT_ATTESTED = "not_attested"
    DISCOVERY = "discovery"
    NONCE_REFUSED = "nonce_refused"
    INSTANCE_GONE = "instance_gone"
    NOT_SERVED = "not_served"
    REPLY_INVALID = "reply_invalid"

    # FAILOVER_POLICY=open makes a reason of any 5xx.
    _ignore_ = "status"
    for status in range(500, 600):
        vars()[f"STATUS_{status}"] = f"status_{status}"


UNCONNECTED: Final = frozenset(
    {
        FailureReason.DNS_ERROR,
        FailureReason.CONNECT_REFUSED,
        FailureReason.CONNECT_ERROR,
        FailureReason.CONNECT_TIMEOUT,
        FailureReason.PROXY_ERROR,
        FailureReason.TLS_ERROR,
    }
)
"""The reasons of an attempt that got no connection. All models have the same address, so that none
of these says anything about one model."""
