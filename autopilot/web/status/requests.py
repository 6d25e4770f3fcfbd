"""The section of the last requests: all of them, or only the failures."""

from __future__ import annotations

from enum import StrEnum
from math import ceil
from typing import TYPE_CHECKING

from autopilot.observability.history import INTERVAL
from autopilot.observability.logs import utc
from autopilot.observability.records import FAILURES
from autopilot.web.status.formatting import (
    OWNER_END,
    Formatted,
    count,
    duration,
    escaped,
    model_name,
    plural,
)
from autopilot.web.status.markup import SLOT, Cell, Template, el
from autopilot.web.status.tables import DASH, Table, TableColumn
from autopilot.web.status.words import choice_words, outcome_words, reason_words

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from markupsafe import Markup

    from autopilot.observability.history import FinishedRequest, HistoryWindow
    from autopilot.observability.records import Failover, RequestRecord
    from autopilot.web.status.report import StatusReport

_SHOWN = 10


class Shown(StrEnum):
    """Which requests the page lists, as the query's ``show`` says."""

    ALL = "all"
    FAILURES = "failures"

    @classmethod
    def of(cls, query: Mapping[bytes, Sequence[bytes]]) -> Shown:
        """Return what a query asks for; without ``show``, and for any other value, all requests."""
        return cls.FAILURES if query.get(b"show") == [b"failures"] else cls.ALL


_TIME = el(
    "span",
    el("time", SLOT, datetime=SLOT, title=SLOT),
    el("span", SLOT, class_="id"),
    class_="finished",
)
_MODEL = el(
    "span",
    el("span", SLOT, class_="owner"),
    el("span", SLOT, class_="model"),
    el("span", SLOT, class_="aside"),
    class_="wraps",
)
_OUTCOME = el(
    "span",
    el("span", SLOT, class_=f"badge {SLOT}", title=SLOT),
    el("span", SLOT, class_="aside"),
    class_="outcome",
)
_COLUMNS = (
    TableColumn("Ended (UTC), request", cell=_TIME),
    TableColumn("Model, and why", cell=_MODEL),
    TableColumn("Selector", cell=f"{SLOT}{SLOT}"),
    TableColumn("Outcome", cell=_OUTCOME),
    TableColumn("Attempts", True),
    TableColumn("First byte", True),
    TableColumn("Duration", True),
    TableColumn("Failed attempts"),
)
_CAPTION = "Last requests, newest first"
_TABLE = Table("recent", _CAPTION, _COLUMNS)
_TABLE_OF_WORKERS = Table("recent", _CAPTION, (*_COLUMNS, TableColumn("Worker", True)))
_ASIDE = Template(el("span", SLOT, class_="aside"))
_FAILED = el("ul", SLOT, class_="failed")
_ATTEMPT = Template(el("li", el("b", SLOT), ": ", SLOT))
_NOTHING = Formatted("")
_NO_MODE = "none"
"""The mode of a request without a selector."""
_VIEWS = ((Shown.ALL, "All", "status#requests"),
          (Shown.FAILURES, "Failures only", "status?show=failures#requests"))  # fmt: skip
_EMPTY = {
    Shown.ALL: "No request has finished since the start.",
    Shown.FAILURES: "No request has failed since the start.",
}


def period(window: HistoryWindow) -> str:
    """Return the time that the figures cover, as words."""
    if window.covered >= len(window.intervals):
        return "the last 30 minutes"
    number = minutes(window)
    return f"the {number} minutes since the start" if number > 1 else "the minute since the start"


def minutes(window: HistoryWindow) -> int:
    """Return the number of minutes that the figures cover, rounded up."""
    return ceil(window.covered * INTERVAL / 60)


def requests(report: StatusReport, shown: Shown) -> Markup:
    """Render the section."""
    window = report.window
    outcomes = el(
        "ul",
        [
            el("li", el("b", count(times)), " ", el("span", outcome_words(outcome), title=outcome))
            for outcome, times in window.outcomes
        ],
        class_="outcomes",
        aria_label=f"Requests of {period(window)} by outcome",
    )
    listed = report.failed if shown is Shown.FAILURES else report.recent
    if report.workers is None:
        table, rows = _TABLE, [_row(each) for each in listed]
    else:
        table, rows = _TABLE_OF_WORKERS, [(*_row(each), _worker(each.worker)) for each in listed]
    return el(
        "section",
        el(
            "h2",
            "Requests ",
            el("small", f"{plural(window.whole.requests, 'request')} in {period(window)}"),
            id="requests-title",
        ),
        outcomes if window.outcomes else None,
        _views(shown),
        table.render(rows, _SHOWN, "requests") if rows else el("p", _EMPTY[shown], class_="empty"),
        id="requests",
        aria_labelledby="requests-title",
    )


def _views(shown: Shown) -> Markup:
    """Link both lists; the links work without the script."""
    links = [
        el("a", words, href=target, aria_current="true" if view is shown else None)
        for view, words, target in _VIEWS
    ]
    return el("nav", links, class_="views", aria_label="Requests listed")


def _row(finished: FinishedRequest) -> tuple[Cell, ...]:
    record = finished.record
    ended = utc(finished.ended_at)
    owner, slash, model = model_name(record.model or "").rpartition(OWNER_END)
    status = escaped(record.status) if record.status else _NOTHING
    code = escaped(record.code) if record.code else _NOTHING
    broke = reason_words(record.reason) if record.reason else _NOTHING
    return (
        Formatted(ended),
        Formatted(ended.replace("T", " ")),
        Formatted(ended[11:19]),
        escaped(record.req_id),
        Formatted(owner + slash),
        Formatted(model) if model else DASH,
        choice_words(record),
        escaped(record.mode) if record.mode != _NO_MODE else DASH,
        _ASIDE.fill(_asides(record)),
        Formatted("bad" if record.outcome in FAILURES else "good"),
        Formatted(record.outcome),
        outcome_words(record.outcome),
        Formatted(" ".join(filter(None, (status, code, broke)))),
        count(record.attempts),
        _milliseconds(record.ttfb_ms),
        _milliseconds(record.duration_ms),
        _attempts(record.failovers),
    )


def _asides(record: RequestRecord) -> list[tuple[Cell, ...]]:
    """Return the lines below the selector: the endpoint, and of a private request its instance."""
    lines: list[tuple[Cell, ...]] = [(escaped(record.endpoint),)]
    if record.private:
        lines.append((escaped(f"private, {record.instance}" if record.instance else "private"),))
    return lines


def _worker(number: int | None) -> Cell:
    return DASH if number is None else Formatted(f"{number}")


def _attempts(failed: Sequence[Failover]) -> Cell:
    """Return the failed attempts: each model, and why, after what time and with what status."""
    if not failed:
        return DASH
    return _LIST.fill([(_ATTEMPT.fill((model_name(each.model), _why(each)) for each in failed),)])


_LIST = Template(_FAILED)


def _why(failed: Failover) -> Formatted:
    words = reason_words(failed.reason)
    status = f", HTTP {failed.status}" if failed.status else ""
    if status.endswith(words):
        status = ""
    after = str(_milliseconds(failed.ms)).replace(" ", "&nbsp;")
    return Formatted(f"{words}{status} after {after}")


def _milliseconds(value: float | None) -> Cell:
    return DASH if value is None else duration(value / 1000.0)
