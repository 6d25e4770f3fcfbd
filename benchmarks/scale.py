"""How many replicas can share their state over one Redis: events, bytes and processor time.

``python -m benchmarks.scale`` measures what this machine's ``redis-server`` spends on a message and
on each of its deliveries, and what a router spends on an event that it receives; the rest is
arithmetic, with the sizes of real events. Each replica receives the events of all, so the
deliveries grow with the square of the number of replicas.
"""

from __future__ import annotations

import argparse
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass
from threading import Thread
from typing import Final

from twisted.internet.task import Clock

from autopilot.settings import Settings
from autopilot.state.events import Event, Failed, Measured, Stuck, encode
from autopilot.state.sharing.hub import BETWEEN_BATCHES, Hub
from autopilot.state.sharing.outbox import Outbox
from autopilot.state.sharing.store_queue import subject
from autopilot.wiring.mapping import shared_tables
from benchmarks.accounting import cpu_seconds
from benchmarks.processes import HOST, free_port

SENDER_BYTES: Final = 8
TIME_BYTES: Final = 6
_COMMANDS = 4
"""For each message: PUBLISH, HSET, PEXPIRE and HLEN, none of which costs more than the first."""
HEADROOM: Final = 0.5
"""The part of a core that Redis may use on average: bursts and a fail-over need the rest."""
RECEIVERS_PART: Final = 0.1
"""The part of its core that each process of a replica may spend on the events of others."""

_MODEL = "northwind-ai/Kestrel-5.1-235B-A22B-TEE"
_VERSION = 2**41, 2**62
_DIGEST = bytes(range(16))
_MEASURED_MODELS = 20


@dataclass(frozen=True, slots=True)
class Habits:
    """What the clients of a replica do: events for each request, and models that are measured."""

    name: str
    stuck: float
    failed: float
    measured_models: int = _MEASURED_MODELS


CHATS: Final = Habits("conversations of 20 turns, 1 failure in 100", 1 / 20, 0.01)
SINGLE: Final = Habits("each request a conversation of its own", 1.0, 0.01)
WORST: Final = Habits("two events for each request", 1.0, 1.0)
HABITS: Final = (CHATS, SINGLE, WORST)


@dataclass(frozen=True, slots=True)
class Traffic:
    """What all replicas together send in a second, and what the store makes of it."""

    replicas: int
    events: float
    messages: float
    published_bytes: float

    @property
    def deliveries(self) -> float:
        """Messages that the store sends in a second: each goes to all, to its sender too."""
        return self.messages * self.replicas

    @property
    def delivered_bytes(self) -> float:
        """Bytes of them."""
        return self.published_bytes * self.replicas


@dataclass(frozen=True, slots=True)
class Costs:
    """Microseconds of processor time: the store's, and a router's for an event of another."""

    publish: float
    deliver: float
    deliver_byte: float
    keep: float
    """To keep an event for a warm start."""
    apply: float

    def store(self, traffic: Traffic) -> float:
        """Return how much of a core the store needs."""
        sent = traffic.messages * _COMMANDS * self.publish + traffic.events * self.keep
        delivered = traffic.deliveries * self.deliver + traffic.delivered_bytes * self.deliver_byte
        return (sent + delivered) / 1e6

    def replica(self, traffic: Traffic) -> float:
        """Return how much of a core each process of a replica needs for what it receives."""
        return traffic.events * (1 - 1 / traffic.replicas) * self.apply / 1e6


def event_bytes(event: Event) -> int:
    """Return what an event adds to a batch."""
    return len(encode([event, event])[0]) - len(encode([event])[0])


def stuck(number: int = 0) -> Stuck:
    """Return a typical event, of one of many conversations."""
    conversation = number.to_bytes(16, "big")
    return Stuck((_VERSION[0] + number, _VERSION[1]), 0, _DIGEST, _DIGEST, conversation, _MODEL)


def failed() -> Failed:
    """Return a typical failure."""
    return Failed(_VERSION, 0, _DIGEST, _MODEL, 30_000, _DIGEST, _DIGEST, False)


def measured() -> Measured:
    """Return the summary of a model with as many samples as a busy replica has."""
    histogram = tuple(number for bucket in range(30) for number in (bucket, 40))
    average = 1_500_000, 900
    return Measured(_VERSION, 0, _MODEL, average, average, histogram, histogram, 10_000, histogram)


def traffic(replicas: int, requests: float, habits: Habits) -> Traffic:
    """Return the traffic of replicas with so many requests a second each."""
    choices = requests * habits.stuck
    failures = requests * habits.failed
    events = choices + failures + habits.measured_models
    messages = min(events, 1 / BETWEEN_BATCHES)
    size = (
        choices * event_bytes(stuck())
        + failures * event_bytes(failed())
        + habits.measured_models * event_bytes(measured())
        + messages * (SENDER_BYTES + len(encode([stuck()])[0]) - event_bytes(stuck()))
    )
    return Traffic(replicas, replicas * events, replicas * messages, replicas * size)


def most_replicas(requests: float, habits: Habits, costs: Costs, limit: int = 1000) -> int:
    """Return how many replicas one store, and the core of each of their processes, can bear."""
    fitting = 0
    for replicas in range(1, limit + 1):
        made = traffic(replicas, requests, habits)
        if costs.store(made) > HEADROOM or costs.replica(made) > RECEIVERS_PART:
            break
        fitting = replicas
    return fitting


# -- what this machine spends


def measure() -> Costs:
    """Measure the costs; `redis-server` must be installed."""
    with _server() as (pid, port):
        alone = _publishing(pid, port, 0, 1000)
        small, large = (_publishing(pid, port, _SUBSCRIBERS, size) for size in _SIZES)
        keep = _keeping(pid, port)
    deliver_byte = max(0.0, (large - small) / _SUBSCRIBERS / (_SIZES[1] - _SIZES[0]))
    deliver = (small - alone) / _SUBSCRIBERS - _SIZES[0] * deliver_byte
    return Costs(alone, deliver, deliver_byte, keep, receiving())


def receiving(events: int = 5000) -> float:
    """Return the microseconds that a replica spends on an event that it receives."""
    hub = Hub(Clock(), shared_tables(Settings(), Outbox(1, _VERSION[0])))
    link = _NoLink()
    hub.join(link)
    batches = [
        encode([stuck(first + number) for number in range(50)])[0] for first in range(0, events, 50)
    ]
    began = time.process_time()
    for batch in batches:
        hub.received(batch, link)
    spent = time.process_time() - began
    hub.close()
    if hub.counts.total("received") != events:
        raise RuntimeError("the events were refused")
    return spent / events * 1e6


class _NoLink:
    def send(self, batch: bytes) -> None:
        """Send nothing."""


_SUBSCRIBERS = 8
_SIZES = (200, 4000)
_MESSAGES = 20_000
_PIPELINED = 10


@contextmanager
def _server() -> Iterator[tuple[int, int]]:
    """Run a store without a disk and without limits of what waits for a subscriber."""
    port = free_port()
    options = ("--save", "", "--client-output-buffer-limit", "pubsub 0 0 0")
    command = ("redis-server", "--bind", HOST, "--port", str(port), *options)
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    try:
        for _ in range(200):
            with suppress(OSError):
                socket.create_connection((HOST, port)).close()
                break
            time.sleep(0.05)
        yield server.pid, port
    finally:
        server.kill()
        server.wait()


def _publishing(pid: int, port: int, subscribers: int, size: int) -> float:
    """Return the microseconds that a message costs the store."""
    with ExitStack() as stack:
        for _ in range(subscribers):
            client = stack.enter_context(closing(socket.create_connection((HOST, port))))
            client.sendall(_command(b"SUBSCRIBE", b"c"))
            client.recv(65536)
            Thread(target=_drain, args=(client,), daemon=True).start()
        return _cost(pid, port, _command(b"PUBLISH", b"c", bytes(size)), 1)


def _keeping(pid: int, port: int) -> float:
    """Return the microseconds that it costs to keep an event for a warm start."""
    pairs: list[bytes] = []
    for number in range(20):
        each = stuck(number)
        pairs += subject(each), bytes(TIME_BYTES) + encode([each])[0]
    return _cost(pid, port, _command(b"HSET", b"h", *pairs), 20)


def _cost(pid: int, port: int, command: bytes, units: int) -> float:
    with closing(socket.create_connection((HOST, port))) as client:
        began = cpu_seconds([pid])
        for _ in range(_MESSAGES // units // _PIPELINED):
            client.sendall(command * _PIPELINED)
            replies = 0
            while replies < _PIPELINED:
                replies += client.recv(65536).count(b"\r\n")
        return (
            (cpu_seconds([pid]) - began)
            / (_MESSAGES // units // _PIPELINED * _PIPELINED * units)
            * 1e6
        )


def _drain(client: socket.socket) -> None:
    with suppress(OSError):
        while client.recv(1 << 20):
            pass


def _command(*words: bytes) -> bytes:
    return b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%b\r\n" % (len(w), w) for w in words)


# -- the report


def report(costs: Costs, requests: float, numbers: Sequence[int]) -> str:
    """Return the tables of Markdown."""
    sizes = [event_bytes(each) for each in (stuck(), failed(), measured())]
    store = (
        f"- A command costs the store {costs.publish:.1f} µs, each delivery {costs.deliver:.1f} µs"
        f" and {costs.deliver_byte * 1000:.2f} µs per KB, a kept event {costs.keep:.1f} µs."
    )
    lines = [
        store,
        f"- A process of the router spends {costs.apply:.1f} µs on each event of another one.",
        "- A choice has {} bytes, a failure {}, a summary {}.".format(*sizes),
        "",
        "| events | replicas | events/s | sent | delivered | core of the store | of each process |",
        "|---|---|---|---|---|---|---|",
    ]
    for habits in HABITS:
        for number in numbers:
            made = traffic(number, requests, habits)
            cells = (
                habits.name,
                str(number),
                f"{made.events:,.0f}",
                f"{made.published_bytes / 1e6:.1f} MB/s",
                f"{made.delivered_bytes / 1e6:,.0f} MB/s",
                f"{costs.store(made):.0%}",
                f"{costs.replica(made):.1%}",
            )
            lines.append(f"| {' | '.join(cells)} |")
    for habits in HABITS:
        most = most_replicas(requests, habits, costs)
        lines += ["", f"At most {most} replicas of {requests:,.0f} requests/s: {habits.name}"]
    return "\n".join(lines)


def main(given: Sequence[str] | None = None) -> int:
    """Measure, and print the report."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scale", description=__doc__)
    parser.add_argument("--requests", type=float, default=1000.0, help="of each replica, a second")
    parser.add_argument("--replicas", type=int, nargs="+", default=[3, 10, 30, 100])
    options = parser.parse_args(given)
    print(report(measure(), options.requests, options.replicas))
    return 0


if __name__ == "__main__":
    sys.exit(main())
