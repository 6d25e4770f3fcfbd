"""The modules without a test file of their own: tables of values, and those that others test."""

from __future__ import annotations

from typing import Final

_CHECK: Final = "a part of `autopilot check`, whose output cli/test_check*.py compares line by line"
_EXPLAIN: Final = "cli/test_explain.py compares its whole output"
_EXCHANGE: Final = "a part of the exchange, which relay/test_*exchange*.py drive from outside"
_PAGE: Final = "web/status/test_page.py reads the page that it is a part of"

VALUES: Final = frozenset(
    {
        "_version.py",
        "http/fetch_error.py",
        "http/limits.py",
        "relay/collaborators.py",
        "relay/config.py",
        "relay/meaning.py",
        "routing/commit.py",
        "routing/failure_reason.py",
        "routing/router_error.py",
        "routing/routing_state.py",
        "routing/snapshot.py",
        "routing/why.py",
    }
)
"""Mere tables of values: names, fields, defaults. No function of them decides anything."""

OWN_TESTS: Final = frozenset(
    {"attestation", "feeds", "observability", "request", "routing", "upstream"}
)
"""The packages whose modules have test files of their own, unless they are tables of values."""

ELSEWHERE: Final[dict[str, str]] = {
    "__main__.py": "cli/test_entry.py runs it as a process",
    "cli/arguments.py": "cli/test_entry.py and cli/test_demo.py read its errors and its help",
    "cli/check_config.py": _CHECK,
    "cli/check_feeds.py": _CHECK,
    "cli/check_key.py": _CHECK,
    "cli/check_result.py": _CHECK,
    "cli/check_router.py": _CHECK,
    "cli/completion.py": "cli/test_entry.py lets shells read what it prints",
    "cli/console.py": "cli/test_terminal.py and cli/test_entry.py read what reaches a terminal",
    "cli/evidence_private.py": "cli/test_evidence_verify.py reads all that it prints",
    "cli/evidence_saved.py": "cli/test_evidence_verify.py keeps answers and reads them again",
    "cli/explain_data.py": _EXPLAIN,
    "cli/explain_text.py": _EXPLAIN,
    "cli/handshake.py": "cli/test_check_network.py shakes hands over real sockets",
    "cli/platform.py": "cli/test_rank.py and cli/test_evidence.py ask a platform through it",
    "cli/platform_feeds.py": "cli/test_rank.py reads every kind of feed through it",
    "cli/router.py": "cli/test_health.py and cli/test_check.py ask a router through it",
    "http/request_checks.py": "web/test_channel_refusals.py sends every head that it refuses",
    "http/request_id.py": "web/test_app.py and web/test_twisted_response.py read the ids",
    "http/request_parser.py": "web/test_channel*.py and tests/corpus feed it byte by byte",
    "process/systemd/notify.py": "process/systemd/test_supervision.py receives its datagrams",
    "relay/event_search.py": "relay/test_event_guard.py cuts its chunks in every place",
    "relay/counted_exchanges.py": "web/test_counted_site.py relays requests with it",
    "relay/exchange_ends.py": _EXCHANGE,
    "relay/errors.py": "web/test_every_error.py provokes every error of its table",
    "relay/private_attempt.py": _EXCHANGE,
    "relay/private_exchanges.py": _EXCHANGE,
    "relay/trace.py": "an interface, which observability/test_tracing.py implements",
    "service/worker_process.py": "service/test_parent.py starts, hears and ends its processes",
    "settings/env_file.py": "test_tap.py and service/test_signals.py read good and bad files",
    "settings/merge.py": "settings/test_loading.py merges all three sources with it",
    "settings/sources.py": "service/test_signals.py loads them again",
    "state/sharing/outbox.py": "state/sharing/test_hub.py lets it fill, wake and drop",
    "state/sharing/store_connection.py": "state/sharing/test_store.py drives it from outside",
    "state/sharing/tables.py": "properties/test_shared_state.py compares them with a reference",
    "state/sharing/warm_start.py": "state/sharing/test_store_link.py reads what it writes",
    "web/channel_response.py": "web/test_twisted_response.py holds both kinds to one rule",
    "web/endpoint.py": "web/test_relay_resource.py calls it over both channels",
    "web/listener.py": "service/test_lifecycle.py and service/test_passed_sockets.py listen",
    "web/root.py": "web/test_relay_resource.py and web/test_app.py start at it",
    "web/site.py": "web/test_channel*.py drains and limits through it",
    "web/start_document.py": "web/test_start_page.py reads it",
    "web/status/assets.py": _PAGE,
    "web/status/charts.py": _PAGE,
    "web/status/events.py": "web/status/test_updates.py subscribes to it",
    "web/status/formatting.py": _PAGE,
    "web/status/markup.py": _PAGE,
    "web/status/ranking.py": _PAGE,
    "web/status/report.py": _PAGE,
    "web/status/tables.py": _PAGE,
    "web/status/tokens.py": _PAGE,
    "web/status/words.py": "web/status/test_requests.py reads its words for every code",
    "wiring/parts.py": "every test of a whole router builds it: service/test_lifecycle.py first",
}
"""The modules of other packages that the tests of others drive, and which tests these are."""
