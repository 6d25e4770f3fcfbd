"""What an event waits for in a proxy when several arrive at once: `python -m benchmarks.bursts`.

One process is upstream and client, so that neither waits for the other's turn on their core. It
sends trains of bursts, one event each on so many streams, through one proxy after the other, and
reads each burst to its end before it sends the next. The proxies run all the time, on the other
core. Of each proxy's bursts only those least disturbed by other processes count, by their mean
latency, which does not depend on the order in which a proxy serves what is ready.
"""

from __future__ import annotations

import argparse
import os
import random
import select
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from statistics import fmean
from time import monotonic_ns
from typing import Final

from benchmarks.poller import READ, RECEIVE_BYTES, prepare_process
from benchmarks.processes import HOST, Cores, ProcessError
from benchmarks.scenarios import ALIAS, HEADERS, MODELS
from benchmarks.servers import AUTOPILOT, DIRECT, Running, proxies
from benchmarks.servers import Upstream as Address
from benchmarks.upstream import Upstream
from benchmarks.wire import STAMP, chat_request, templates

Burst = list[tuple[int, int]]
"""When each event was sent and received, in nanoseconds and in the order of sending."""

_TRAIN, _WARM = 40, 10
_TICK_NS: Final = 1_000_000
_REST: Final = 0.003
_PATIENCE_NS: Final = 100_000_000
_LEAST_DISTURBED: Final = 0.2
_EVENT = templates("bench/one")


@dataclass(frozen=True, slots=True)
class Figures:
    """Latencies in microseconds; `in_order` is the median if no event overtook another.

    `overtaken` is the share of events that left the proxy after the next one.
    """

    p50: float
    mean: float
    p99: float
    in_order: float
    overtaken: float


def figures(bursts: Sequence[Burst], share: float = _LEAST_DISTURBED) -> Figures:
    """Return the figures of this share of the bursts, those with the lowest mean."""
    chosen = sorted(bursts, key=_mean)[: max(1, int(len(bursts) * share))]
    latencies = sorted(received - sent for burst in chosen for sent, received in burst)
    in_order = sorted(
        received - sent
        for burst in chosen
        for (sent, _), received in zip(burst, sorted(r for _, r in burst), strict=True)
    )
    pairs = [later[1] < one[1] for burst in chosen for one, later in pairwise(burst)]
    return Figures(
        _at(latencies, 0.5),
        fmean(latencies) / 1000,
        _at(latencies, 0.99),
        _at(in_order, 0.5),
        sum(pairs) / len(pairs) if pairs else 0.0,
    )


def _mean(burst: Burst) -> float:
    return fmean(received - sent for sent, received in burst)


def _at(ordered: Sequence[int], rank: float) -> float:
    return ordered[min(len(ordered) - 1, int(len(ordered) * rank))] / 1000


class Streams:
    """Open streams through one proxy, or directly: the upstream's ends and the client's."""

    def __init__(self, upstream: Upstream, port: int, model: str, count: int) -> None:
        """Open them, while another thread serves the upstream."""
        request = chat_request(
            host=f"{HOST}:{port}",
            path="/v1/chat/completions",
            model=model,
            headers=HEADERS,
            seed=0,
            events=1,
        )
        earlier = upstream.streaming()
        self._epoll = select.epoll()
        self._clients = [_opened(port, request) for _ in range(count)]
        for client in self._clients:
            self._epoll.register(client.fileno(), READ)
        self._recv = {client.fileno(): client.recv for client in self._clients}
        self._senders = [each for each in upstream.streaming() if each not in earlier]
        self._next = 0

    def burst(self, size: int) -> Burst | None:
        """Send one event on each of the next streams and receive all, or None if some are lost."""
        first, senders = self._next, self._senders
        self._next = (first + size) % len(senders)
        before, after = _EVENT.event_before, _EVENT.event_after
        for place in range(first, first + size):
            senders[place % len(senders)].send(before + b"%020d" % monotonic_ns() + after)
        poll, recv, find = self._epoll.poll, self._recv, STAMP.findall
        burst: Burst = []
        end = monotonic_ns() + _PATIENCE_NS
        while len(burst) < size:
            for fd, _ in poll(0.01):
                data = recv[fd](RECEIVE_BYTES)
                now = monotonic_ns()
                burst += [(int(stamp), now) for stamp in find(data)]
            if monotonic_ns() > end:
                return None
        return sorted(burst)


def _opened(port: int, request: bytes) -> socket.socket:
    """Return a connection on which a stream has begun."""
    client = socket.create_connection((HOST, port), timeout=20)
    client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    client.sendall(request)
    data = b""
    while not STAMP.search(data):
        more = client.recv(RECEIVE_BYTES)
        if not more:
            raise ProcessError(f"no stream on port {port}: {data[:200]!r}")
        data += more
    client.setblocking(False)
    return client


@contextmanager
def _served(upstream: Upstream) -> Iterator[None]:
    """Serve the upstream in a thread."""
    over = threading.Event()

    def serve() -> None:
        while not over.is_set():
            upstream.turn(2 * _TICK_NS)

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def _train(streams: Streams, size: int) -> Iterable[Burst | None]:
    """Return the bursts of a train, without the first ones, by which the proxy gets warm."""
    found = []
    due = monotonic_ns() + _TICK_NS
    for _ in range(_TRAIN):
        time.sleep(max(0, due - monotonic_ns()) / 1e9)
        found.append(streams.burst(size))
        due = max(due + _TICK_NS, monotonic_ns() + _TICK_NS // 10)
    return found[_WARM:]


def _arguments(given: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.bursts", description=__doc__)
    parser.add_argument("--proxies", default=f"{DIRECT},{AUTOPILOT},nginx,caddy")
    parser.add_argument("--sizes", default="1,5,10,20,40", help="events of a burst")
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--streams", type=int, default=200)
    return parser.parse_args(given)


def main(given: Sequence[str] | None = None) -> int:
    """Measure, and print a table."""
    options = _arguments(given)
    names, sizes = options.proxies.split(","), [int(each) for each in options.sizes.split(",")]
    prepare_process()
    cores = Cores.available()
    os.sched_setaffinity(0, {cores.load})
    listener = socket.create_server((HOST, 0), backlog=1024)
    listener.setblocking(False)
    address, upstream = Address(listener.getsockname()[1]), Upstream(listener, None)
    known = proxies(AUTOPILOT)
    with ExitStack() as stack:
        running: dict[str, Running] = {}
        streams: dict[str, Streams] = {}
        with _served(upstream):
            for name in names:
                port = address.port
                if name != DIRECT:
                    folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
                    running[name] = known[name].start(address, folder, cores.proxy)
                    stack.callback(running[name].stop)
                    port = running[name].port
                model = MODELS[ALIAS if name == AUTOPILOT else ""]
                streams[name] = Streams(upstream, port, model, options.streams)
        _measure(upstream, running, streams, sizes, options.rounds)
    return 0


def _measure(
    upstream: Upstream,
    running: dict[str, Running],
    streams: dict[str, Streams],
    sizes: Sequence[int],
    rounds: int,
) -> None:
    found: dict[tuple[int, str], list[Burst]] = {(s, n): [] for s in sizes for n in streams}
    cpu = dict.fromkeys(found, 0.0)
    for _ in range(rounds):
        for size in sizes:
            for name in random.sample(list(streams), len(streams)):
                upstream.turn(0)
                time.sleep(_REST)
                began = running[name].cpu() if name in running else 0.0
                train = _train(streams[name], size)
                cpu[size, name] += (running[name].cpu() if name in running else 0.0) - began
                found[size, name] += [burst for burst in train if burst is not None]
    print("size  proxy         p50  if in order   mean    p99  overtaken  CPU per event, µs")
    for (size, name), bursts in found.items():
        if bursts:
            _print(size, name, figures(bursts), cpu[size, name] * 1e6 / (rounds * _TRAIN * size))


def _print(size: int, name: str, of: Figures, cpu: float) -> None:
    print(
        f"{size:4}  {name:10} {of.p50:6.1f} {of.in_order:12.1f} {of.mean:6.1f} {of.p99:6.1f}"
        f" {of.overtaken:10.0%} {cpu:18.1f}"
    )


if __name__ == "__main__":
    sys.exit(main())
