"""The table of scenarios: the kind of load, its size, and the proxies measured."""

from __future__ import annotations

import re
import resource
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final

from benchmarks.job import SILENT, STREAM, UNARY, UNARY_NEW, UPLOAD, Job
from benchmarks.servers import AUTOPILOT, BEFORE, CADDY, DIRECT, LITELLM, NGINX, PRIVATE, WORKERS

PLAIN: Final = "plain"
TLS: Final = "tls"
UPSTREAMS: Final = (PLAIN, TLS)

ALIAS: Final = "alias"
LIST: Final = "list"
ONE: Final = "one model"
MODELS: Final = {
    ALIAS: "chutesai/AutoPilot",
    LIST: "bench/one,bench/two,bench/three",
    ONE: "bench/one",
    "": "bench/one",
}
HEADERS: Final = {"Authorization": "Bearer bench"}
"""LiteLLM requires a key; the router hashes it for its session affinity."""

WORKERS_UNARY: Final = "workers-unary"
WORKERS_STREAM: Final = "workers-stream"
PRIVATE_UNARY: Final = "private-unary"
PRIVATE_STREAM: Final = "private-stream"

_UNITS = {UNARY: "request", UNARY_NEW: "request", UPLOAD: "request", STREAM: "event"}
_OWN_DESCRIPTORS = 200
_MOST_SILENT = 10_000


@dataclass(frozen=True, slots=True)
class Subject:
    """A proxy and, for the router, the kind of selector in the request."""

    proxy: str
    mode: str = ""

    @property
    def label(self) -> str:
        """The name in the tables."""
        name = "no proxy" if self.proxy == DIRECT else self.proxy
        return f"{name}, {self.mode}" if self.mode else name


NO_PROXY: Final = Subject(DIRECT)
BEST: Final = Subject(AUTOPILOT, ALIAS)
"""The router in its main use, which is compared with the peers."""
EARLIER: Final = Subject(BEFORE, ALIAS)
_PEERS: Final = (EARLIER, Subject(NGINX), Subject(CADDY))
_MAIN: Final = (NO_PROXY, BEST, *_PEERS)
_WAYS: Final = (NO_PROXY, BEST, Subject(AUTOPILOT, LIST), Subject(AUTOPILOT, ONE), *_PEERS)
BY_WORKERS: Final = {count: Subject(name, ALIAS) for count, name in WORKERS.items()}
_BY_WORKERS: Final = (NO_PROXY, BEST, *BY_WORKERS.values())
NAMED: Final = Subject(AUTOPILOT, ONE)
SEALED: Final = Subject(PRIVATE, ONE)
_PRIVATE: Final = (NAMED, SEALED)
_SMALL: Final = (NO_PROXY, BEST, Subject(LITELLM))


@dataclass(frozen=True, slots=True)
class Scenario:
    """One line of the table.

    It runs at most `rounds` rounds, or twice as many as the others if it `decides` a target.
    `quick`: it is part of a quick run.
    """

    key: str
    title: str
    kind: str
    subjects: tuple[Subject, ...]
    connections: int
    rate: int = 0
    requests_per_second: float | None = None
    body_bytes: int | None = None
    ramp_per_second: float = 1000.0
    upstreams: tuple[str, ...] = UPSTREAMS
    rounds: int | None = None
    decides: bool = False
    quick: bool = False
    growth: bool = False

    @property
    def unit(self) -> str:
        """The unit of the cost."""
        return _UNITS.get(self.kind, "stream")

    def rounds_of(self, rounds: int) -> int:
        """Return how many times a run of this many rounds measures it."""
        if self.rounds is not None:
            return min(self.rounds, rounds)
        return 2 * rounds if self.decides else rounds

    def job(self, subject: Subject, port: int, warmup: float, seconds: float) -> Job:
        """Return the job for the load generator."""
        return Job(
            port=port,
            kind=self.kind,
            model=MODELS[subject.mode],
            headers=HEADERS,
            connections=self.connections,
            rate=self.rate,
            requests_per_second=self.requests_per_second,
            body_bytes=self.body_bytes,
            ramp_per_second=self.ramp_per_second,
            warmup=warmup,
            seconds=seconds,
        )

    def expected_seconds(self, subject: Subject, warmup: float, seconds: float) -> float:
        """Return the estimated duration of one measurement."""
        starts = {DIRECT: 0.3, LITELLM: 12.0, AUTOPILOT: 1.3}
        starts |= {name: 1.3 * (count + 1) for count, name in WORKERS.items()}
        start = starts.get(subject.proxy, 0.6)
        return start + self.connections / self.ramp_per_second + warmup + seconds


@dataclass(frozen=True, slots=True)
class Item:
    """One planned measurement."""

    scenario: Scenario
    upstream: str
    subject: Subject

    @property
    def name(self) -> str:
        """The name that `--only` matches."""
        return f"{self.scenario.key}/{self.upstream}/{self.subject.label}"


def silent_streams() -> int:
    """Return how many streams a proxy can hold open with two descriptors each, up to 10,000."""
    _soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard == resource.RLIM_INFINITY:
        return _MOST_SILENT
    return min(_MOST_SILENT, (hard - _OWN_DESCRIPTORS) // 2)


def _growth(streams: int, rate: int) -> Scenario:
    return Scenario(
        f"growth-{streams}",
        f"{streams:,} streams × {rate} events/s",
        STREAM,
        _MAIN,
        streams,
        rate=rate,
        upstreams=(PLAIN,),
        growth=True,
    )


def table() -> tuple[Scenario, ...]:
    """Return all scenarios, in the order in which they run and are reported."""
    silent = silent_streams()
    return (
        Scenario(
            "unary-closed",
            "2 KB answers, closed loop, 32 connections",
            UNARY,
            _MAIN,
            32,
            decides=True,
            quick=True,
        ),
        Scenario(
            "unary",
            "2 KB answers, 2,000 requests/s on 32 connections",
            UNARY,
            _WAYS,
            32,
            requests_per_second=2000,
            quick=True,
        ),
        Scenario(
            "unary-new",
            "2 KB answers, 500 requests/s, each on a new connection",
            UNARY_NEW,
            _MAIN,
            32,
            requests_per_second=500,
        ),
        Scenario(
            "upload",
            "1 MB request bodies, 50/s on 8 connections",
            UPLOAD,
            _MAIN,
            8,
            requests_per_second=50,
            body_bytes=1_000_000,
        ),
        Scenario(
            "stream-400",
            "400 streams × 50 events/s",
            STREAM,
            _WAYS,
            400,
            rate=50,
            decides=True,
            quick=True,
        ),
        Scenario(
            "stream-5000",
            "5,000 streams × 2 events/s",
            STREAM,
            _MAIN,
            5000,
            rate=2,
            ramp_per_second=1500,
            growth=True,
        ),
        Scenario(
            "silent",
            f"{silent:,} open and silent streams",
            SILENT,
            (BEST, *_PEERS),
            silent,
            rounds=1,
        ),
        Scenario(
            "small-unary", "2 KB answers, closed loop, 4 connections", UNARY, _SMALL, 4, rounds=2
        ),
        Scenario("small-stream", "20 streams × 50 events/s", STREAM, _SMALL, 20, rate=50, rounds=2),
        Scenario(
            WORKERS_UNARY,
            "2 KB answers, closed loop, 32 connections, by workers on one core",
            UNARY,
            _BY_WORKERS,
            32,
            upstreams=(PLAIN,),
            decides=True,
        ),
        Scenario(
            WORKERS_STREAM,
            "400 streams × 50 events/s, by workers on one core",
            STREAM,
            _BY_WORKERS,
            400,
            rate=50,
            upstreams=(PLAIN,),
            decides=True,
        ),
        # Nonces last for some 16,000 requests a minute, which is the budget of discoveries.
        Scenario(
            PRIVATE_UNARY,
            "2 KB answers, closed loop, 8 connections, plain and private",
            UNARY,
            _PRIVATE,
            8,
            upstreams=(PLAIN,),
            decides=True,
        ),
        Scenario(
            PRIVATE_STREAM,
            "200 streams × 50 events/s, plain and private",
            STREAM,
            _PRIVATE,
            200,
            rate=50,
            upstreams=(PLAIN,),
            decides=True,
        ),
        _growth(100, 100),
        _growth(400, 25),
        _growth(1000, 10),
        _growth(2500, 4),
    )


_QUICK_SILENT = 1000


def small(scenario: Scenario) -> Scenario:
    """Return the variant of a scenario for a quick run."""
    if scenario.kind != SILENT:
        return replace(scenario, rounds=1)
    title = f"{_QUICK_SILENT:,} open and silent streams"
    return replace(scenario, connections=_QUICK_SILENT, title=title, rounds=1)


def plan(
    scenarios: Sequence[Scenario], only: str | None, proxies: Sequence[str], *, quick: bool
) -> list[Item]:
    """Return the measurements of one round; `only` is a regular expression for their names."""
    wanted = re.compile(only or "")
    return [
        Item(small(scenario) if quick else scenario, upstream, subject)
        for scenario, upstream, subject in _combinations(scenarios)
        if subject.proxy in proxies
        and wanted.search(Item(scenario, upstream, subject).name)
        and (not quick or only or _is_quick(scenario, upstream, subject))
    ]


def _combinations(scenarios: Sequence[Scenario]) -> Iterator[tuple[Scenario, str, Subject]]:
    """Yield every proxy before the next scenario, so that all have the same conditions."""
    for scenario in scenarios:
        for upstream in scenario.upstreams:
            for subject in scenario.subjects:
                yield scenario, upstream, subject


def _is_quick(scenario: Scenario, upstream: str, subject: Subject) -> bool:
    return scenario.quick and subject.mode in ("", ALIAS)
