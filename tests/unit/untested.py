"""The modules without a test file of their own, and the reason for each."""

from __future__ import annotations

from typing import Final

_CHECK: Final = "a part of `autopilot check`, whose output cli/test_check*.py compares line by line"
_EXPLAIN: Final = "cli/test_explain.py compares its whole output"
_EXCHANGE: Final = "a part of the exchange, which relay/test_exchange*.py drives from outside"
_PAGE: Final = "web/status/test_page.py reads the page that it is a part of"
_VALUE: Final = "a value or a name without a decision of its own"

REASONS: Final[dict[str, str]] = {
    "_version.py": _VALUE,
    "__main__.py": "tests of the commands run it as a process",
    "cli/arguments.py": "cli/test_entry.py and cli/test_demo.py read its errors and its help",
    "cli/check_config.py": _CHECK,
    "cli/check_feeds.py": _CHECK,
    "cli/check_key.py": _CHECK,
    "cli/check_result.py": _CHECK,
    "cli/check_router.py": _CHECK,
    "cli/completion.py": "cli/test_entry.py lets shells read what it prints",
    "cli/console.py": "cli/test_terminal.py and cli/test_entry.py read what reaches a terminal",
    "cli/explain_data.py": _EXPLAIN,
    "cli/explain_text.py": _EXPLAIN,
    "cli/handshake.py": "cli/test_check_network.py shakes hands over real sockets",
    "cli/platform.py": "cli/test_rank.py and cli/test_evidence.py ask a platform through it",
    "cli/platform_feeds.py": "cli/test_rank.py reads every kind of feed through it",
    "cli/router.py": "cli/test_health.py and cli/test_check.py ask a router through it",
    "feeds/reading.py": "feeds/test_snapshot_steps.py reads large feeds through it",
    "http/dialect.py": _VALUE,
    "http/fetch_error.py": "http/test_fetch*.py provokes every outcome that it names",
    "http/limits.py": _VALUE,
    "http/request_checks.py": "web/test_channel_refusals.py sends every head that it refuses",
    "http/request_id.py": "web/test_app.py and web/test_twisted_response.py read the ids",
    "http/request_parser.py": "web/test_channel*.py and tests/corpus feed it byte by byte",
    "observability/records.py": _VALUE,
    "process/systemd/notify.py": "process/systemd/test_supervision.py receives its datagrams",
    "relay/attempt.py": _EXCHANGE,
    "relay/config.py": _VALUE,
    "relay/event_search.py": "relay/test_event_guard.py cuts its chunks in every place",
    "relay/errors.py": "web/test_every_error.py provokes every error of its table",
    "relay/trace.py": "an interface, which observability/test_tracing.py implements",
    "request/parse.py": "relay/test_proxy.py sends the requests that it parses",
    "routing/commit.py": _VALUE,
    "routing/failure_reason.py": _VALUE,
    "routing/router_error.py": _VALUE,
    "routing/snapshot.py": _VALUE,
    "routing/tee.py": "routing/test_plan.py and test_selector.py ask for confidential models",
    "routing/why.py": "relay/test_exchange_why.py provokes every reason",
    "settings/declaration.py": _VALUE,
    "settings/env_file.py": "test_tap.py and service/test_signals.py read good and bad files",
    "settings/merge.py": "settings/test_loading.py merges all three sources with it",
    "settings/sources.py": "service/test_signals.py loads them again",
    "state/sharing/store_connection.py": "state/sharing/test_store.py drives it from outside",
    "upstream/types.py": _VALUE,
    "web/channel_response.py": "web/test_twisted_response.py holds both kinds to one rule",
    "web/endpoint.py": "web/test_relay_resource.py calls it over both channels",
    "web/listener.py": "service/test_lifecycle.py and test_passed_sockets.py listen with it",
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
