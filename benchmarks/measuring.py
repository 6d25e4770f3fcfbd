"""The rig: upstreams, a proxy and a load generator, and one measurement with them."""

from __future__ import annotations

import json
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from benchmarks.accounting import cpu_seconds
from benchmarks.certificates import issue
from benchmarks.job import SILENT, Job
from benchmarks.processes import Child, Cores, free_port
from benchmarks.results import Measurement
from benchmarks.scenarios import TLS, Item
from benchmarks.servers import DIRECT, Proxy, Running, Upstream

_GRACE = 60.0


class LoadRun:
    """A running load generator."""

    def __init__(self, child: Child, job: Job) -> None:
        self._child = child
        self._job = job
        child.tell(json.dumps(asdict(job)))

    def wait_steady(self) -> None:
        """Wait for the start of the window. Raises `ProcessError`."""
        job = self._job
        self._hear("steady", job.connections / job.ramp_per_second + job.patience + job.warmup)

    def wait_done(self) -> dict[str, Any]:
        """Wait for the end of the window, and return the result. Raises `ProcessError`."""
        result: dict[str, Any] = self._hear("done", self._job.seconds)["result"]
        return result

    def kill(self) -> None:
        """Kill it, which closes all its connections at once."""
        self._child.kill()

    def _hear(self, phase: str, patience: float) -> dict[str, Any]:
        message: dict[str, Any] = json.loads(self._child.hear(patience + _GRACE))
        if message["phase"] != phase:
            raise self._child.failure(f"reported {message['phase']!r} instead of {phase!r}")
        return message


class Rig:
    """The upstreams, the proxies and the folder of their files; a context manager."""

    def __init__(self, proxies: Mapping[str, Proxy], cores: Cores) -> None:
        self.cores = cores
        self.proxies = proxies
        self._stack = ExitStack()
        self._upstreams: dict[str, tuple[Upstream, Child]] = {}

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            self.folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-")))
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        self._stack.close()

    def upstream(self, kind: str) -> Upstream:
        """Return the upstream, plain or TLS, starting it on first use."""
        return self._serving(kind)[0]

    def upstream_cpu(self, kind: str) -> float:
        """Return the processor time of an upstream so far, in seconds."""
        return cpu_seconds([self._serving(kind)[1].pid])

    @contextmanager
    def proxy(self, name: str, kind: str) -> Iterator[Running | None]:
        """Run a new proxy before an upstream; yields None for `DIRECT`. Raises `ProcessError`."""
        if name == DIRECT:
            yield None
            return
        with tempfile.TemporaryDirectory(prefix=f"{name}-", dir=self.folder) as folder:
            running = self.proxies[name].start(self.upstream(kind), Path(folder), self.cores.proxy)
            try:
                yield running
            finally:
                running.stop()

    @contextmanager
    def load(self, job: Job) -> Iterator[LoadRun]:
        """Run a load generator."""
        command = (sys.executable, "-m", "benchmarks.load")
        with Child(
            f"load-{free_port()}", command, core=self.cores.load, folder=self.folder, talks=True
        ) as child:
            yield LoadRun(child, job)

    def target(self, kind: str, running: Running | None) -> dict[str, Any]:
        """Return the members of a job that address the proxy, or the upstream itself."""
        if running is not None:
            return {"port": running.port}
        upstream = self.upstream(kind)
        if upstream.ca_file is None:
            return {"port": upstream.port}
        return {
            "port": upstream.port,
            "ca_file": str(upstream.ca_file),
            "server_name": "localhost",
        }

    def _serving(self, kind: str) -> tuple[Upstream, Child]:
        if kind not in self._upstreams:
            self._upstreams[kind] = self._start_upstream(kind)
        return self._upstreams[kind]

    def _start_upstream(self, kind: str) -> tuple[Upstream, Child]:
        port, authority = free_port(), None
        more: tuple[str, ...] = ()
        if kind == TLS:
            certificates = issue(self.folder)
            authority = certificates.authority
            more = ("--cert", str(certificates.chain), "--key", str(certificates.key))
        command = (sys.executable, "-m", "benchmarks.upstream", "--port", str(port), *more)
        child = self._stack.enter_context(
            Child(
                f"upstream-{kind}",
                command,
                core=self.cores.upstream,
                folder=self.folder,
                talks=True,
            )
        )
        child.hear(_GRACE)
        return Upstream(port, authority), child


def measure(rig: Rig, item: Item, number: int, warmup: float, seconds: float) -> Measurement:
    """Measure one scenario through a new proxy, in one round. Raises `ProcessError`."""
    scenario, kind = item.scenario, item.upstream
    with rig.proxy(item.subject.proxy, kind) as running:
        job = scenario.job(item.subject, 0, warmup, seconds)
        job = replace(job, **rig.target(kind, running))
        at_start = running.rss() if running else 0
        with rig.load(job) as load:
            load.wait_steady()
            began = _sample(rig, kind, running)
            result = load.wait_done()
            ended = _sample(rig, kind, running)
            rss, peak = (running.rss(), running.peak()) if running else (0, 0)
    elapsed = result["elapsed"]
    return Measurement(
        scenario=scenario.key,
        upstream=kind,
        subject=item.subject.label,
        round=number,
        streams=scenario.connections,
        units=result["up"] if job.kind == SILENT else result["events"] or result["requests"],
        elapsed=elapsed,
        cpu=ended.proxy - began.proxy,
        load_share=result["cpu"] / elapsed,
        upstream_share=(ended.upstream - began.upstream) / elapsed,
        shared_core=rig.cores.shared,
        grown=rss - at_start,
        rss=rss,
        peak=peak,
        **_from_load(result),
    )


def _from_load(result: Mapping[str, Any]) -> dict[str, Any]:
    """Return the load's results, with errors before the window: they too distort the window."""
    latency, first = result["latency_us"], result["first_byte_us"]
    reasons = Counter(result["reasons"]) + Counter(result["reasons_before"])
    return {
        "p50": latency["p50"],
        "p99": latency["p99"],
        "mean": result["mean_us"],
        "p999": latency["p999"],
        "longest": latency["max"],
        "first_byte_p50": first["p50"],
        "first_byte_p99": first["p99"],
        "max_gap_ms": result["max_gap_ms"],
        "errors": reasons.total(),
        "reasons": dict(reasons),
    }


@dataclass(frozen=True, slots=True)
class _Sample:
    proxy: float
    upstream: float


def _sample(rig: Rig, kind: str, running: Running | None) -> _Sample:
    return _Sample(running.cpu() if running else 0.0, rig.upstream_cpu(kind))
