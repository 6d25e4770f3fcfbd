"""The section of the workers, for a router that has several."""

from __future__ import annotations

from typing import TYPE_CHECKING

from autopilot.web.status.formatting import Formatted, age, count, escaped, plural
from autopilot.web.status.markup import SLOT, Cell, Child, el, optional_section
from autopilot.web.status.tables import DASH, Table, TableColumn

if TYPE_CHECKING:
    from markupsafe import Markup

    from autopilot.observability.workers import WorkerNow, WorkersNow

_SHOWN = 16
_MEGABYTE = 1_000_000
_FRESH = 10.0  # a worker is asked every few seconds, and for each page
_TABLE = Table(
    "workers",
    "Workers by number",
    (
        TableColumn("Worker"),
        TableColumn(
            "State",
            cell=el(
                "span",
                el("span", SLOT, class_=f"badge {SLOT}"),
                el("span", SLOT, class_="aside"),
                class_="outcome",
            ),
        ),
        TableColumn("In flight", True),
        TableColumn("Connections", True, "of clients, open now"),
        TableColumn("Received", True, "connections of clients since its start"),
        TableColumn("CPU", True, "processor time since its start"),
        TableColumn("Memory", True, "resident, pages that processes share included"),
        TableColumn("Running for", True),
        TableColumn("Process", True),
    ),
)
_BADGES = {"ready": "good", "held": "bad"}
_WORDS = {
    "ready": "serves",
    "starting": "starting",
    "draining": "finishes its requests",
    "held": "held: runs nothing",
}


def workers(now: WorkersNow | None) -> Markup:
    """Render the section, which is hidden if there are no workers."""
    children = None if now is None else _shown(now)
    return optional_section("workers", children)


def alone(worker: int | None) -> Markup:
    """Say that the page shows one worker only, because its parent did not answer."""
    return el(
        "section",
        None
        if worker is None
        else el(
            "p",
            f"These are the figures of worker {worker} alone: the parent process did not answer it "
            "in time. Reload the page; if it stays so, look at the log of the parent.",
            class_="advice",
        ),
        id="alone",
        role="status",
        hidden=worker is None,
    )


def _shown(now: WorkersNow) -> list[Child]:
    rows = [_row(each) for each in now.processes]
    serving = f"{now.serving:,} of {plural(now.wanted, 'worker')}"
    return [
        el("h2", "Workers ", el("small", f"{serving} ready"), id="workers-title"),
        el("p", _past(now)),
        _TABLE.render(rows, _SHOWN, "workers") if rows else None,
    ]


def _past(now: WorkersNow) -> str:
    """Return what has happened to the workers, as a sentence."""
    ended = f"{plural(now.deaths, 'worker')} ended unexpectedly" if now.deaths else ""
    held = f"one was held {plural(now.holds, 'time')}" if now.holds else ""
    rolled = f"all were restarted {plural(now.restarts, 'time')}" if now.restarts else ""
    told = ", ".join(filter(None, (ended, held, rolled)))
    return f"Since the start: {told}." if told else "None has ended unexpectedly since the start."


def _row(worker: WorkerNow) -> tuple[Cell, ...]:
    cpu, memory, reported = worker.cpu_seconds, worker.resident_bytes, worker.report_age_seconds
    if reported is None:
        note = Formatted("no report yet")
    else:
        note = Formatted("" if reported < _FRESH else f"last report {age(reported)} ago")
    return (
        Formatted(f"{worker.worker}"),
        Formatted(_BADGES.get(worker.state, "cooling")),
        escaped(_WORDS.get(worker.state, worker.state)),
        note,
        count(worker.requests_active),
        count(worker.connections),
        count(worker.received),
        DASH if cpu is None else age(cpu),
        DASH if memory is None else Formatted(f"{memory / _MEGABYTE:.0f} MB"),
        age(worker.uptime_seconds),
        Formatted(f"{worker.pid}"),
    )
