"""One run: the upstream, a router for each setup, and every input, one after the other."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import ssl
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection as Pipe
from pathlib import Path
from typing import Final

import trustme

from benchmarks.pace import Pace
from tests.rigs.hold import client, report, upstream
from tests.rigs.hold.client import Played
from tests.rigs.hold.input import MIB, Input, Port
from tests.rigs.hold.judge import Row, Run, judge, needs_another
from tests.rigs.hold.probe import HungError, Observation, Probe
from tests.rigs.hold.router import SETUPS, Addresses, HeldRouter, Setup
from tests.rigs.smoke.client import HOST

_RUNS: Final = 4
_SETTLE: Final = 0.15
_IDLE: Final = 1.0
_STARTING: Final = 30.0
_MARGIN: Final = 60.0
_FORK: Final = multiprocessing.get_context("fork")


@dataclass(frozen=True, slots=True)
class Case:
    """An input with a setup, and the number by which the upstream knows the input."""

    number: int
    given: Input
    setup: Setup

    @property
    def key(self) -> tuple[str, str]:
        """The input and its router, as in a row."""
        return self.given.title, self.setup.name

    @property
    def order(self) -> tuple[str, str, int]:
        """Inputs with a small limit of memory first: large ones leave memory in the process."""
        return self.setup.name, self.given.family, self.given.memory or 0


def cases(inputs: Sequence[Input], wanted: Callable[[str], object]) -> list[Case]:
    """Return the wanted inputs with each of their setups; ``wanted`` takes title and setup."""
    found = [
        Case(number, given, SETUPS[name])
        for number, given in enumerate(inputs)
        for name in given.setups
        if wanted(f"{given.title} [{name}]")
    ]
    return sorted(found, key=lambda case: case.order)


class HoldSuite:
    """The processes of a run."""

    def __init__(self, inputs: Sequence[Input], folder: Path) -> None:
        self._inputs = inputs
        self._folder = folder
        self._router: HeldRouter | None = None
        self._pipe: Pipe | None = None
        self._models = 0
        self._processor: int | None = None
        self._pace: Pace | None = None
        self._sockets = [upstream.listener(), upstream.listener()]
        authority = trustme.CA()
        self._tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        issued = authority.issue_cert(HOST)
        issued.configure_cert(self._tls)
        certificate, key, trusted = (folder / f"{name}.pem" for name in ("cert", "key", "ca"))
        certificate.write_bytes(b"".join(each.bytes() for each in issued.cert_chain_pems))
        issued.private_key_pem.write_to_path(key)
        authority.cert_pem.write_to_path(trusted)
        plain, tls = (each.getsockname()[1] for each in self._sockets)
        self._addresses = Addresses(plain, tls, certificate, key, trusted)
        self._upstream: multiprocessing.process.BaseProcess | None = None

    @contextlib.contextmanager
    def opened(self) -> Iterator[HoldSuite]:
        """Give the router the last processor, and everything else the other ones."""
        usable = os.sched_getaffinity(0)
        if len(usable) > 1:
            self._processor = max(usable)
            os.sched_setaffinity(0, usable - {self._processor})
            self._pace = Pace.of_core(self._processor)
        try:
            yield self
        finally:
            self._stop_router()
            self._stop_upstream()
            os.sched_setaffinity(0, usable)

    def noise(self) -> float:
        """Return the longest hold of an idle router."""
        router = self.router_for(SETUPS["own"], 0)
        with contextlib.closing(self._probe(router)) as probe:
            end = time.monotonic() + _IDLE
            return probe.watch(lambda: time.monotonic() > end, 0.0).held

    def play(self, case: Case) -> Row:
        """Play an input, again up to three times if the run proves nothing, and return its row."""
        runs: list[Run] = []
        while len(runs) < _RUNS and (not runs or needs_another(case.given, runs[-1])):
            runs.append(self._run(case))
        if case.given.feeds is not None:
            self._stop_router()  # the next input must not meet the feeds of this one
        return judge(case.given, case.setup.name, runs)

    def _run(self, case: Case) -> Run:
        given = case.given
        router = self.router_for(case.setup, (given.memory or given.connections * MIB) // 4)
        self.prepare(case.number)
        ours, theirs = _FORK.Pipe()
        tls = router.context if given.to is Port.API else None
        arguments = (theirs, given, case.number, router.port_of(given.to), tls)
        process = _FORK.Process(target=_clients, args=(ours, *arguments), daemon=True)
        process.start()
        theirs.close()
        try:
            _expect(ours)
            slowdown = self._slowdown()
            seen = self._watch(router, ours)
            has_ended = ours.poll(given.seconds + _MARGIN)
            played = ours.recv() if has_ended else Played(0, 0, finished=False)
        except EOFError:
            seen, played, slowdown = None, Played(0, 0, finished=False), 1.0
        finally:
            process.kill()
            process.join()
            ours.close()
        if seen is None:
            self._stop_router()
        return Run(played, seen, max(slowdown, self._slowdown()))

    def _slowdown(self) -> float:
        """Return how much slower than at best the router's processor is, while it is idle."""
        return 1.0 if self._pace is None else self._pace.slowdown()

    def _watch(self, router: HeldRouter, pipe: Pipe) -> Observation | None:
        """Let the clients begin, and watch until they have ended."""
        try:
            with contextlib.closing(self._probe(router)) as probe:
                pipe.send("go")
                return probe.watch(pipe.poll, _SETTLE)
        except (HungError, OSError) as error:
            print(f"  {error}", file=sys.stderr)
            return None

    def _probe(self, router: HeldRouter) -> Probe:
        processor = max(os.sched_getaffinity(0)) if self._processor is None else self._processor
        return Probe(router.probed_port, router.pid, processor)

    # -- processes

    def router_for(self, setup: Setup, retained: int) -> HeldRouter:
        """Return the running router, or another if it has another setup or too much memory.

        ``retained``: bytes that it may keep from earlier inputs; 0: any number.
        """
        router = self._router
        if (
            router is not None
            and router.setup is setup
            and router.status is None
            and (retained == 0 or router.retained <= retained)
        ):
            return router
        self._stop_router()
        if self._models != setup.models:
            self._start_upstream(setup.models)
        self.prepare()
        self._router = HeldRouter(setup, self._folder, self._addresses, self._processor)
        self._router.begin()
        return self._router

    def _stop_router(self) -> None:
        if self._router is not None:
            self._router.kill()
            self._router = None

    def _start_upstream(self, models: int) -> None:
        self._stop_upstream()
        self._models = models
        self._pipe, theirs = _FORK.Pipe()
        sockets = list(zip(self._sockets, (None, self._tls), strict=True))
        self._upstream = _FORK.Process(
            target=_serve, args=(self._pipe, theirs, self._inputs, models, sockets), daemon=True
        )
        self._upstream.start()
        theirs.close()
        _expect(self._pipe)

    def _stop_upstream(self) -> None:
        if self._upstream is not None and self._pipe is not None:
            self._pipe.close()
            self._upstream.kill()
            self._upstream.join()
            self._upstream = None

    def prepare(self, *numbers: int) -> None:
        """Let the upstream build the bytes of these inputs."""
        assert self._pipe is not None
        self._pipe.send(numbers)
        _expect(self._pipe)


def _expect(pipe: Pipe) -> None:
    if not pipe.poll(_STARTING):
        raise TimeoutError("a process of the suite did not start")
    pipe.recv()


def _clients(ours: Pipe, *arguments: object) -> None:
    ours.close()
    client.play(*arguments)  # type: ignore[arg-type]


def _serve(ours: Pipe, *arguments: object) -> None:
    ours.close()
    upstream.serve(*arguments)  # type: ignore[arg-type]


def this_machine(noise: float) -> report.Machine:
    """Return the machine and its noise."""
    python = ".".join(map(str, sys.version_info[:3]))
    return report.machine(noise, python, os.cpu_count() or 1)
