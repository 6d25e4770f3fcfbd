"""The comparison of ways to share connections among workers: how even they are, and what they cost.

``python -m benchmarks.balance`` prints a table of Markdown. A round opens streams that stay, then
keep-alive connections, and counts those of each worker; then it opens and closes connections, one
request on each, and measures the processor time of all processes of the server for each.
"""

from __future__ import annotations

import argparse
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from statistics import median
from typing import Any, Final, Self

from autopilot.process.board import Board
from benchmarks.accounting import cpu_seconds
from benchmarks.balanced_server import HOST, WAYS

STREAMS: Final = 400
KEPT: Final = 32
MOST_OF_STREAMS: Final = 1.15
"""The largest part of the streams that a worker may have, as a multiple of its share."""
MOST_OF_KEPT: Final = 2.0
"""The same of connections that are kept alive."""

_RAMP_PER_SECOND = 400
_PATIENCE = 60.0
_POLL_SECONDS = 0.02
_AT_ONCE = 8


@dataclass(frozen=True, slots=True)
class Round:
    """What one round of one way measured."""

    streams: float
    """The part of the worker with most of the streams, as a multiple of its share."""
    burst: float
    """The same, if the clients connect as fast as they can."""
    kept: float
    """The same of keep-alive connections, each with one request."""
    per_second: float
    """Connections with one request each, in a second."""
    cpu_us: float
    """Processor time of the parent and the workers for each of them."""


def largest_part(counts: Sequence[int]) -> float:
    """Return the largest of the counts as a multiple of their mean; 0 if all are 0."""
    total = sum(counts)
    return max(counts) * len(counts) / total if total else 0.0


class Server:
    """A bare server with workers, as a process; a context manager."""

    def __init__(self, way: str, workers: int) -> None:
        self._process = subprocess.Popen(
            (sys.executable, "-m", "benchmarks.balanced_server", way, str(workers)),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        assert self._process.stdout is not None
        told: dict[str, Any] = json.loads(self._process.stdout.readline())
        self._port: int = told["port"]
        self._pids = [told["parent"], *told["workers"]]
        path = f"/proc/{told['parent']}/fd/{told['board']}"
        self._board = Board.open(os.open(path, os.O_RDWR))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        for pipe in (self._process.stdin, self._process.stdout):
            assert pipe is not None
            pipe.close()
        self._process.wait()
        self._board.close()

    def connect(self, path: bytes) -> socket.socket:
        """Connect, and send a request."""
        client = socket.create_connection((HOST, self._port), 30)
        client.sendall(b"GET %b HTTP/1.1\r\nHost: x\r\n\r\n" % path)
        return client

    def counts(self) -> list[int]:
        """Return the open connections of each worker."""
        return [self._board.slot(index).connections for index in range(len(self._board))]

    def wait_for(self, connections: int) -> list[int]:
        """Wait until that many connections are open, and return those of each worker."""
        end = time.monotonic() + _PATIENCE
        while sum(counts := self.counts()) != connections:
            if time.monotonic() > end:
                raise RuntimeError(f"{connections} connections, but the workers have {counts}")
            time.sleep(_POLL_SECONDS)
        return counts

    def cpu(self) -> float:
        """Return the processor time of all processes so far, in seconds."""
        return cpu_seconds(self._pids)


def _part(server: Server, path: bytes, count: int, per_second: float) -> float:
    """Open connections, and return the part of the worker with most of them."""
    with ExitStack() as clients:
        began = time.monotonic()
        for number in range(count):
            time.sleep(max(0.0, began + number / per_second - time.monotonic()))
            client = clients.enter_context(closing(server.connect(path)))
            if path == b"/":
                client.recv(4096)
        counts = server.wait_for(count)
    server.wait_for(0)
    return largest_part(counts)


def _short_connections(server: Server, seconds: float) -> tuple[float, float]:
    """Return connections per second, a few at a time, and the processor time for each in µs."""
    done, began, cpu = 0, time.monotonic(), server.cpu()
    while time.monotonic() < began + seconds:
        clients = [server.connect(b"/") for _ in range(_AT_ONCE)]
        for client in clients:
            client.recv(4096)
            client.close()
        done += _AT_ONCE
    elapsed = time.monotonic() - began
    return done / elapsed, (server.cpu() - cpu) / done * 1e6


def measure(way: str, workers: int, seconds: float) -> Round:
    """Measure one way, with a server of its own."""
    with Server(way, workers) as server:
        streams = _part(server, b"/stream", STREAMS, _RAMP_PER_SECOND)
        burst = _part(server, b"/stream", STREAMS, 1e9)
        kept = _part(server, b"/", KEPT, 1e9)
        per_second, cpu_us = _short_connections(server, seconds)
    return Round(streams, burst, kept, per_second, cpu_us)


def row(way: str, rounds: Sequence[Round]) -> str:
    """Return a row: the worst of the rounds for evenness, the median for speed."""
    cells = (
        way,
        f"{max(each.streams for each in rounds):.2f} ×",
        f"{max(each.burst for each in rounds):.2f} ×",
        f"{max(each.kept for each in rounds):.2f} ×",
        f"{median(each.per_second for each in rounds):,.0f}",
        f"{median(each.cpu_us for each in rounds):.0f} µs",
    )
    return f"| {' | '.join(cells)} |"


def main(given: Sequence[str] | None = None) -> int:
    """Measure all ways in interleaved rounds, and print the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.balance", description=__doc__)
    parser.add_argument("--workers", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=3.0)
    options = parser.parse_args(given)
    found: dict[str, list[Round]] = {way: [] for way in WAYS}
    for _ in range(options.rounds):
        for way in WAYS:
            found[way].append(measure(way, options.workers, options.seconds))
            print(way, found[way][-1], file=sys.stderr, flush=True)
    print(f"| way | {STREAMS} streams | in a burst | {KEPT} kept | connections/s | CPU of each |")
    print("|---|---|---|---|---|---|")
    for way, rounds in found.items():
        print(row(way, rounds))
    return 0


if __name__ == "__main__":
    sys.exit(main())
