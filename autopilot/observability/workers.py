"""The workers of a router at one moment, for the status page and the metrics."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

from msgspec import Struct

from autopilot.observability.instruments import Readings
from autopilot.observability.merge import WORKER

STATES: Final = ("ready", "starting", "draining", "held")
"""The states of a worker's process. One that is held runs nothing: its reactor has stopped."""


class WorkerNow(Struct, frozen=True, gc=False):
    """One process of a worker; a rolling restart has two of the same number for a while.

    ``connections`` are those of clients, ``received`` all since its start. What only the worker
    knows is from its last report, which was made ``report_age`` seconds ago; None before the first.
    """

    worker: int
    pid: int
    state: str
    uptime_seconds: float
    requests_active: int
    connections: int
    received: int
    cpu_seconds: float | None = None
    resident_bytes: float | None = None
    report_age_seconds: float | None = None


class WorkersNow(Struct, frozen=True):
    """All workers, and what has happened to them since the start of the router.

    There should be ``wanted`` of them. ``deaths`` counts those that ended unexpectedly, ``holds``
    the times at which one was held, ``restarts`` completed rolling restarts.
    """

    wanted: int
    serving: int
    deaths: int = 0
    holds: int = 0
    restarts: int = 0
    processes: tuple[WorkerNow, ...] = ()


def worker_instruments(now: Callable[[], WorkersNow]) -> tuple[Readings, ...]:
    """Return the metrics of the workers, which are read at each scrape."""

    def one(read: Callable[[WorkersNow], float]) -> Callable[[], Iterator[Sample]]:
        return lambda: iter([((), read(now()))])

    def by_state() -> Iterator[Sample]:
        states = [each.state for each in now().processes]
        return (((state,), states.count(state)) for state in STATES)

    def by_worker(read: Callable[[WorkerNow], float]) -> Callable[[], Iterator[Sample]]:
        def sums() -> Iterator[Sample]:
            found: dict[int, float] = {}
            for each in now().processes:
                found[each.worker] = found.get(each.worker, 0) + read(each)
            return (((str(worker),), value) for worker, value in found.items())

        return sums

    return (
        Readings(
            "chutes_autopilot_workers_wanted",
            "Workers that there should be.",
            (),
            one(lambda workers: workers.wanted),
        ),
        Readings(
            "chutes_autopilot_workers",
            "Processes of workers, by state.",
            ("state",),
            by_state,
        ),
        Readings(
            "chutes_autopilot_worker_deaths_total",
            "Workers that ended unexpectedly.",
            (),
            one(lambda workers: workers.deaths),
            kind="counter",
        ),
        Readings(
            "chutes_autopilot_worker_holds_total",
            "Times at which the reactor of a worker was held for 10 s.",
            (),
            one(lambda workers: workers.holds),
            kind="counter",
        ),
        Readings(
            "chutes_autopilot_worker_restarts_total",
            "Rolling restarts of all workers that were completed.",
            (),
            one(lambda workers: workers.restarts),
            kind="counter",
        ),
        Readings(
            "chutes_autopilot_worker_requests_active",
            "Requests in flight, by worker.",
            (WORKER,),
            by_worker(lambda worker: worker.requests_active),
        ),
        Readings(
            "chutes_autopilot_worker_connections",
            "Open connections of clients, by worker.",
            (WORKER,),
            by_worker(lambda worker: worker.connections),
        ),
    )


Sample = tuple[tuple[str, ...], float]
