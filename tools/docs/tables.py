"""Tables of the documentation, generated from the code.

Each function returns the Markdown for the placeholder of its name.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from prometheus_client import Metric
from twisted.internet.testing import MemoryReactorClock

from autopilot.feeds import readiness
from autopilot.observability.private_counts import PrivateCounts, private_gauges
from autopilot.observability.workers import WorkersNow, worker_instruments
from autopilot.relay.errors import BY_REASON
from autopilot.routing import retry_policy
from autopilot.routing.failure_reason import FailureReason
from autopilot.routing.selector import Mode
from autopilot.settings import Settings
from tools.docs.refusals import Said, said


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a Markdown table; bars within cells are escaped."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(
        f"| {' | '.join(each.replace('|', '&#124;') for each in row)} |" for row in lines
    )


def code(text: str) -> str:
    """Return a text as code, and an empty one as a dash."""
    return f"`{text}`" if text else "–"


def refusals() -> str:
    """Return a table of every error that the router creates itself."""
    by_code: dict[str, list[Said]] = {}
    for each in said():
        by_code.setdefault(each.code, []).append(each)
    return table(
        ("`error.code`", "status", "what the message says"),
        (
            (
                f'<a id="{name}"></a>`{name}`',
                ", ".join(sorted({str(each.status) for each in every})),
                "<br>".join(dict.fromkeys(each.message.replace("….", "…") for each in every)),
            )
            for name, every in sorted(by_code.items())
        ),
    )


def readiness_codes() -> str:
    """Return the reasons for a 503 of `/readyz`, in the order in which it checks them."""
    return table(
        ("`error.code`", "meaning"), ((code(row.code), row.message) for row in readiness._ROWS)
    )


def failover_rules() -> str:
    """Return the responses that lead to the next candidate."""
    return table(
        ("reason", "status", "what else", "policies"),
        (
            *(
                (code(_reason(row)), _statuses(row), _condition(row), _policies(row))
                for row in retry_policy._TABLE
            ),
            *((code(reason), reason.rpartition("_")[2], *rest) for reason, *rest in _SPENT),
        ),
    )


_EVERY_POLICY = ", ".join(f"`{each.value}`" for each in retry_policy.Policy)
_SPENT = (
    (
        FailureReason.STATUS_402,
        "a candidate of [another service](fallbacks.md) is left, then the next",
        _EVERY_POLICY,
    ),
    (
        FailureReason.STATUS_429,
        "the edge's page; a candidate of [another service](fallbacks.md) is left, then the next",
        _EVERY_POLICY,
    ),
)
"""What says that the account may make no call: the reason, what else is needed, the policies."""


def _reason(row: retry_policy.Row) -> str:
    status = str(row.statuses[0]) if len(row.statuses) == 1 else "NNN"
    return row.reason or f"status_{status}"


def _statuses(row: retry_policy.Row) -> str:
    first, last = row.statuses.start, row.statuses.stop - 1
    return str(first) if first == last else f"{first}–{last}"


def _condition(row: retry_policy.Row) -> str:
    says = (row.says.__doc__ or "").split("\n")[0].rstrip(".") if row.says is not None else ""
    larger = (
        "a candidate is left whose context is larger, or in a list unknown; once"
        if row.to_larger
        else ""
    )
    modes = "not for a direct name" if Mode.DIRECT not in row.modes else ""
    detail = "`detail` is a text" if row.detail else ""
    pauses = "a short `Retry-After` is waited for once" if row.pauses else ""
    again = "JSON with an `error` object and no `detail`; once more, then next"
    engine = again if row.again is not None else ""
    return "; ".join(filter(None, (says, detail, engine, larger, modes, pauses))) or "–"


def _policies(row: retry_policy.Row) -> str:
    return ", ".join(f"`{each.value}`" for each in retry_policy.Policy if each in row.policies)


def failures_without_a_response() -> str:
    """Return the other reasons for a failed attempt, with the errors if no candidate is left."""
    of_responses = {row.reason for row in retry_policy._TABLE}
    return table(
        ("reason", "where no candidate is left"),
        (
            (code(reason), _last_error(reason))
            for reason in FailureReason
            if reason not in of_responses and not reason.startswith("status_")
        ),
    )


def _last_error(reason: FailureReason) -> str:
    error = BY_REASON.get(reason)
    if error is None:
        return "the response as it came"
    return f"{error.status} [`{error.code}`](errors.md#{error.code}): {error.message}"


def metrics() -> str:
    """Return every metric: those of a new router with a store, of workers, and of private mode."""
    from autopilot.service.lifecycle import AutopilotService

    reactor: Any = MemoryReactorClock()
    settings = Settings(state_url="redis://192.0.2.1", sticky_hash_key=b"k" * 32)
    parts = AutopilotService(settings, reactor=reactor, listen=False)._parts
    of_workers = worker_instruments(lambda: WorkersNow(0, 0))
    of_private = (*PrivateCounts().instruments(), *private_gauges(dict, lambda: None))
    rows = [
        (code(each.name), each.kind, _labels(each.labels), each.text)
        for each in (*parts.metrics.instruments, *of_workers, *of_private)
    ]
    rows += [
        (code(_full_name(each)), each.type, _labels(_label_names(each)), each.documentation)
        for each in parts.metrics.registry.collect()
    ]
    rows.sort(key=lambda row: row[0].strip("`").removesuffix("_total"))
    return table(("name", "type", "labels", "meaning"), rows)


def _full_name(family: Metric) -> str:
    return f"{family.name}_total" if family.type == "counter" else family.name


def _label_names(family: Metric) -> Iterable[str]:
    return dict.fromkeys(name for sample in family.samples for name in sample.labels)


def _labels(names: Iterable[str]) -> str:
    return ", ".join(map(code, names)) or "–"
