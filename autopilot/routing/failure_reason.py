"""Why an attempt failed: one closed set for records, metrics, traces and response headers."""

from __future__ import annotations

from enum import StrEnum


class FailureReason(StrEnum):
    """What ended an attempt (contract §10). Its values are safe as those of a metric label."""

    DNS_ERROR = "dns_error"
    CONNECT_REFUSED = "connect_refused"
    CONNECT_ERROR = "connect_error"
    CONNECT_TIMEOUT = "connect_timeout"
    TLS_ERROR = "tls_error"
    CONNECTION_LOST = "connection_lost"
    PROTOCOL_ERROR = "protocol_error"
    HEADER_TIMEOUT = "header_timeout"
    FIRST_BODY_BYTE_TIMEOUT = "first_body_byte_timeout"
    FAILOVER_AFTER = "failover_after"
    IDLE_TIMEOUT = "idle_timeout"
    STALLED = "stalled"
    ERROR_EVENT = "error_event"
    GAVE_UP = "gave_up"
    NO_TERMINATOR = "no_terminator"
    CUT = "cut"
    INVALID_EVENT = "invalid_event"
    EMPTY = "empty"
    STATUS_429 = "status_429"
    STATUS_502 = "status_502"
    STATUS_503 = "status_503"
    STATUS_504 = "status_504"
    STATUS_520 = "status_520"
    STATUS_521 = "status_521"
    STATUS_522 = "status_522"
    STATUS_523 = "status_523"
    STATUS_524 = "status_524"
    STATUS_529 = "status_529"
    STATUS_500 = "status_500"
    STATUS_5XX = "status_5xx"
    AT_CAPACITY = "capacity_429"
    EXHAUSTED = "exhausted_500"
    MODEL_NOT_FOUND = "model_not_found"
    CONTEXT_EXCEEDED = "context_exceeded"
