"""The single figures of a router with workers: throughput in a confined core, and memory."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from typing import Any, Final

from benchmarks.accounting import proportional_memory
from benchmarks.confinement import confined
from benchmarks.job import UNARY, Job
from benchmarks.measuring import Rig
from benchmarks.scenarios import ALIAS, HEADERS, MODELS, PLAIN
from benchmarks.servers import AUTOPILOT, WORKERS, Running

SHARE: Final = 0.2
"""Of a core, for each worker: load and upstream need the rest and the other core."""
CONFINED: Final = {
    1: "requests/s, one process in a fifth of a core",
    2: "requests/s, two workers, each in a fifth of a core",
}
FURTHER_WORKER: Final = "memory of a further worker"
AFTER_LOAD: Final = "memory of a further worker, after load"

_MB = 1024 * 1024
_CONNECTIONS = 32
_REST_SECONDS = 2.0


def throughput(rig: Rig) -> Iterator[tuple[str, float]]:
    """Requests per second in a closed loop, if each process that serves has a fifth of a core.

    The parent of two workers is not confined; it has nothing to do here once all clients are
    connected.
    """
    for count, name in CONFINED.items():
        with rig.proxy(AUTOPILOT if count == 1 else WORKERS[count], PLAIN) as running:
            assert running is not None
            with ExitStack() as stack:
                for pid in running.serving():
                    stack.enter_context(confined(str(pid), SHARE, pid))
                result = _load(rig, running)
        yield name, result["requests"] / result["elapsed"]


def memory_of_workers(rig: Rig) -> Iterator[tuple[str, float]]:
    """Megabytes of proportional set size that each worker behind the second one adds.

    At rest, and after a load of some seconds.
    """
    sizes = {}
    for count, name in WORKERS.items():
        with rig.proxy(name, PLAIN) as running:
            assert running is not None
            time.sleep(_REST_SECONDS)
            rest = proportional_memory(running.pids())
            _load(rig, running)
            sizes[count] = rest, proportional_memory(running.pids())
    for name, few, many in zip((FURTHER_WORKER, AFTER_LOAD), sizes[2], sizes[4], strict=True):
        yield name, (many - few) / 2 / _MB


def _load(rig: Rig, running: Running) -> dict[str, Any]:
    job = Job(
        port=0,
        kind=UNARY,
        model=MODELS[ALIAS],
        headers=HEADERS,
        connections=_CONNECTIONS,
        seconds=4.0,
        warmup=1.0,
    )
    with rig.load(replace(job, **rig.target(PLAIN, running))) as load:
        load.wait_steady()
        return load.wait_done()
