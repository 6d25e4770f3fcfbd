"""The expected outcome of each stub scenario as the first of two models (the contract's table).

Every scenario is in exactly one place, by its name.
"""

from __future__ import annotations

from collections.abc import Mapping

# An answer, or an error that another model would not avoid: relayed unchanged.
RELAYED: frozenset[str] = frozenset(
    {
        *("ok", "ok-vllm", "reasoning", "reasoning-vllm", "tool-call", "tool-call-vllm"),
        *("structured", "usage-last", "usage-asked", "usage-asked-vllm"),
        *("extra-keys", "unlimited"),
        *("huge", "huge-event", "big-headers", "crlf", "byte-by-byte", "comments"),
        *("many-empty-events", "chunked-plain", "redirect-302", "set-cookie", "hop-by-hop"),
        *("connection-close", "echo-headers", "no-prefill", "no-length", "early-hints-103"),
        *("trailing-bytes", "slow-head", "slow", "no-done", "broken-json-event"),
        *("error-event-400", "coded", "spliced", "spliced-role"),
        *("400-content-policy", "400-engine-object", "400-json", "400-file", "400-regex"),
        *("400-tool-arguments", "400-images", "400-edge-error", "413", "422-list"),
        *("401", "401-anonymous", "401-expired", "401-malformed", "401-unknown"),
        *("401-management", "401-hotkey", "403-scope", "403-e2e-nonce", "403-html"),
        *("402-quota", "402-no-quota", "402-string", "402-subscription", "402-tee"),
        *("402-creator", "404-chute", "404-cord", "404-path", "404-e2e-instance"),
        *("405", "408", "408-reused", "410-e2e-instance", "426-tee"),
        *("429-edge-html", "429-account", "429-free-model", "429-maintenance", "429-spamming"),
        *("429-shared", "429-e2e-instance", "429-retry-after", "429-retry-after-long"),
        *("500-text",),
    }
)

# A beginning that the client has received, and no more: an error event, and an unclean end.
CUT: frozenset[str] = frozenset(
    {
        *("drop-mid-stream", "reset-mid-stream", "cut-40-of-60", "cut-mid-event"),
        *("stall-after-20", "stall-mid-stream", "bare-json-tail", "wrong-length"),
        *("error-event-mid", "gave-up"),
    }
)

# The reason for failover to the next model.
NEXT: Mapping[str, str] = {
    "400-context": "context",
    "400-context-sglang": "context",
    "400-context-object": "context",
    "429-capacity": "capacity",
    "429-capacity-short": "capacity",
    "429-capacity-retry-after": "capacity",
    "404-model": "not_found",
    "500-other": "status_500",
    "500-traceback": "status_500",
    "500-e2e": "status_500",
    "500-exhausted": "status_500",
    "500-no-infrastructure": "status_500",
    "500-no-infrastructure-plain": "status_500",
    "500-no-result": "status_500",
    "500-unhandled": "status_500",
    "502-html": "status_502",
    "502-ingress": "status_502",
    "502-empty": "status_502",
    "502-e2e-key": "status_502",
    "503-cold": "status_503",
    "503-disabled": "status_503",
    "503-engine": "status_503",
    "503-html": "status_503",
    "503-empty": "status_503",
    "504-html": "status_504",
    "504-ingress": "status_504",
    "504-empty": "status_504",
    "520-html": "status_520",
    "521-html": "status_521",
    "522-html": "status_522",
    "523-html": "status_523",
    "524-html": "status_524",
    "529": "status_529",
    "429-engine": "status_429",
    "500-engine": "status_500",
    "reset": "connection_lost",
    "close": "connection_lost",
    "malformed-head": "protocol_error",
    "upgrade-101": "protocol_error",
    "hang-head": "header_timeout",
    "hang-first-byte": "first_body_byte_timeout",
    "silent-two-minutes": "header_timeout",
    "late-first-token": "first_body_byte_timeout",
    "bare-json-first": "error_event",
    "error-event-first": "error_event",
    "error-json-200": "error_event",
    "role-only-then-end": "no_terminator",
    "role-only-then-drop": "cut",
    "empty-stream": "no_terminator",
    "nothing-said": "empty",
    # A client cannot read an answer in an envelope.
    "trace-envelope": "no_terminator",
}

# Without another model, a model that never responds gives an error of the router.
ALONE: Mapping[str, tuple[int, str]] = {
    "reset": (502, "upstream_connect_error"),
    "close": (502, "upstream_connect_error"),
    "malformed-head": (502, "upstream_connect_error"),
    "upgrade-101": (502, "upstream_connect_error"),
    "hang-head": (504, "upstream_header_timeout"),
    "hang-first-byte": (504, "upstream_first_body_byte_timeout"),
    "silent-two-minutes": (504, "upstream_header_timeout"),
}
