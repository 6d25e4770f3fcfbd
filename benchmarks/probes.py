"""The single figures beside the load tables, each measured several times."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from http.client import HTTPConnection
from typing import Any, Final

from autopilot.feeds.parsers import parse_catalog, parse_utilization
from autopilot.routing.catalog import Catalog
from autopilot.routing.ranking import rank
from autopilot.routing.snapshot import Snapshot
from benchmarks.feeds import CATALOG_PATH, UTILIZATION_PATH, feeds
from benchmarks.job import SILENT, STREAM, UNARY, UPLOAD, Job
from benchmarks.measuring import Rig
from benchmarks.processes import HOST, PROJECT
from benchmarks.scenarios import ALIAS, HEADERS, MODELS, PLAIN
from benchmarks.servers import AUTOPILOT, CADDY, DIRECT, Running
from benchmarks.worker_probes import memory_of_workers, throughput

Found = Iterator[tuple[str, float]]
"""Names of figures and their values, one for each measurement."""

Probe = Callable[[Rig], Found]

_MB = 1024 * 1024
_SETTLE = 1.0
_LEAVING = 500
_STAYING_RATE = 100
_IMPORT = """
from time import perf_counter
began = perf_counter()
from autopilot import AutopilotService
print(perf_counter() - began)
"""


def _job(kind: str, connections: int, seconds: float, **more: Any) -> Job:
    return Job(
        port=0,
        kind=kind,
        model=MODELS[ALIAS],
        headers=HEADERS,
        connections=connections,
        seconds=seconds,
        warmup=0.5,
        **more,
    )


def _run(rig: Rig, running: Running | None, job: Job) -> dict[str, Any]:
    """Run one load and return its result."""
    with rig.load(replace(job, **rig.target(PLAIN, running))) as load:
        load.wait_steady()
        return load.wait_done()


def first_byte(rig: Rig) -> Found:
    """Microseconds to the first byte on one connection with one request at a time.

    Closed loop: the next request follows the answer. Paced: so few that all parts go to sleep and
    lose their caches in between, which the report mentions.
    """
    jobs = {
        "unary": _job(UNARY, 1, 3.0),
        "stream": _job(STREAM, 1, 3.0, rate=1000, events=1),
        "unary at 200/s": _job(UNARY, 1, 3.0, requests_per_second=200),
        "stream at 200/s": _job(STREAM, 1, 3.0, rate=1000, events=1, think=0.005),
    }
    for name in (DIRECT, AUTOPILOT, CADDY):
        with rig.proxy(name, PLAIN) as running:
            for kind, job in jobs.items():
                result = _run(rig, running, job)
                yield f"first byte, {kind}, {name}", result["first_byte_us"]["p50"]


def uploads(rig: Rig) -> Found:
    """Peak memory in MB, while 64 clients send 150 KB bodies in a closed loop."""
    with rig.proxy(AUTOPILOT, PLAIN) as running:
        assert running is not None
        _run(rig, running, _job(UPLOAD, 64, 6.0, body_bytes=150_000))
        yield "peak memory", running.peak() / _MB


def beside_large_bodies(rig: Rig) -> Found:
    """Microseconds of latency (p99) of 200 streams, alone and beside bodies of 1 MB.

    One body in each second is what is judged. Five in each second, and Caddy, show where it ends.
    """
    streams = _job(STREAM, 200, 6.0, rate=10)
    for name in (AUTOPILOT, CADDY):
        with rig.proxy(name, PLAIN) as running:
            yield f"p99 alone, {name}", _p99(_run(rig, running, streams))
            for each_second in (1, 5):
                large = _job(UPLOAD, 1, 60.0, requests_per_second=each_second, body_bytes=1_000_000)
                with rig.load(replace(large, **rig.target(PLAIN, running))) as beside:
                    beside.wait_steady()
                    result = _run(rig, running, streams)
                yield f"p99 beside {each_second} × 1 MB a second, {name}", _p99(result)


def _p99(result: dict[str, Any]) -> float:
    p99: float = result["latency_us"]["p99"]
    return p99


def leaving_at_once(rig: Rig) -> Found:
    """Milliseconds by which the other streams stall when 500 clients disconnect at once."""
    staying = _job(STREAM, 200, 4.0, rate=_STAYING_RATE)
    leaving = _job(STREAM, _LEAVING, 60.0, rate=5)
    with rig.proxy(AUTOPILOT, PLAIN) as running:
        with rig.load(replace(leaving, **rig.target(PLAIN, running))) as others:
            others.wait_steady()
            with rig.load(replace(staying, **rig.target(PLAIN, running))) as load:
                load.wait_steady()
                time.sleep(_SETTLE)
                others.kill()
                result = load.wait_done()
        yield "stall", max(0.0, result["max_gap_ms"] - 1000 / _STAYING_RATE)


def silent_upstream(rig: Rig) -> Found:
    """Milliseconds from a client's disconnect to the close of its silent upstream connection."""
    with rig.proxy(AUTOPILOT, PLAIN) as running:
        for _ in range(5):
            job = replace(_job(SILENT, 1, 60.0), **rig.target(PLAIN, running))
            with rig.load(job) as load:
                load.wait_steady()
                left = time.monotonic_ns()
                load.kill()
            time.sleep(_SETTLE)
            closed = _stats(rig.upstream(PLAIN).port)["last_close"]
            yield "upstream closed after", (closed - left) / 1e6


def _stats(port: int) -> dict[str, Any]:
    connection = HTTPConnection(HOST, port, timeout=5)
    connection.request("GET", "/stats")
    stats: dict[str, Any] = json.loads(connection.getresponse().read())
    connection.close()
    return stats


def starting(rig: Rig) -> Found:
    """Seconds from the start of the process to ``/readyz`` 200, and of the import.

    What is imported is all that an embedding program needs: the package itself loads nothing until
    it is asked for something.
    """
    rig.upstream(PLAIN)
    _import()
    for _ in range(5):
        began = time.monotonic()
        with rig.proxy(AUTOPILOT, PLAIN):
            yield "ready after", time.monotonic() - began
        yield "import autopilot", _import()


def _import() -> float:
    """Return the seconds of the import in a new process; the first one also compiles."""
    environment = {**os.environ, "PYTHONPATH": str(PROJECT)}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    command = (sys.executable, "-c", _IMPORT)
    return float(subprocess.check_output(command, cwd=PROJECT, env=environment))


def refreshing(rig: Rig) -> Found:
    """Milliseconds that the reactor is busy with a new utilization feed of 540 records."""
    bodies = feeds()
    catalog = Catalog.of(parse_catalog(bodies[CATALOG_PATH]).models)
    for _ in range(20):
        began = time.perf_counter()
        loads = parse_utilization(bodies[UTILIZATION_PATH]).loads
        Snapshot(catalog, rank(loads, catalog), began, began)
        yield "feed refresh", (time.perf_counter() - began) * 1000


PROBES: Final[Mapping[str, Probe]] = {
    each.__name__: each
    for each in (
        first_byte,
        uploads,
        beside_large_bodies,
        leaving_at_once,
        silent_upstream,
        starting,
        refreshing,
        throughput,
        memory_of_workers,
    )
}
