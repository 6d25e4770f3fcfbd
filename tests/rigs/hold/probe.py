"""The second client: it requests `/healthz` continually and measures how long the router is held.

A response time includes the time that the router's thread or the probe's waited for a processor
that another process used. The scheduler counts that time for each thread (schedstat), and it is
subtracted: the router caused the rest itself.
"""

from __future__ import annotations

import gc
import os
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from benchmarks.accounting import cpu_seconds, memory
from tests.rigs.smoke.client import HOST

_REQUEST: Final = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"
_BODY: Final = b"ok\n"
_PAUSE: Final = 0.0005
_HUNG: Final = 30.0
_NS: Final = 1e9
_TICKS: Final = os.sysconf("SC_CLK_TCK")
_STEAL_FIELD: Final = 7
_RESET_PEAK: Final = "5"


@dataclass(frozen=True, slots=True)
class Observation:
    """What the probe saw during one input.

    ``held``: the longest hold in milliseconds. ``wall``: the longest response time as it was.
    ``stolen``: milliseconds that the hypervisor took from the router's processor.
    """

    held: float
    wall: float
    requests: int
    processor: float
    stolen: float
    growth: int


class HungError(Exception):
    """The router did not respond at all."""


class Delays:
    """The time that two threads waited for a processor: the router's main thread and this one."""

    def __init__(self, pid: int) -> None:
        paths = (f"/proc/{pid}/task/{pid}/schedstat", "/proc/thread-self/schedstat")
        self._files = [os.open(path, os.O_RDONLY) for path in paths]

    def seconds(self) -> float:
        """Return the sum so far."""
        return sum(int(os.pread(each, 100, 0).split()[1]) for each in self._files) / _NS

    def close(self) -> None:
        """Close the files."""
        for each in self._files:
            os.close(each)


class Probe:
    """A connection to the API, and the process behind it."""

    def __init__(self, port: int, pid: int, processor: int) -> None:
        self._pid = pid
        self._processor = processor
        self._delays = Delays(pid)
        self._socket = socket.create_connection((HOST, port), timeout=_HUNG)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def close(self) -> None:
        """Close the connection."""
        self._socket.close()
        self._delays.close()

    def watch(self, done: Callable[[], bool], settle: float) -> Observation:
        """Measure until ``done``, and ``settle`` seconds longer.

        :raises HungError: there was no response for half a minute, or the connection closed.
        """
        before = memory([self._pid])
        Path(f"/proc/{self._pid}/clear_refs").write_text(_RESET_PEAK)
        used, stolen = cpu_seconds([self._pid]), steal(self._processor)
        held = wall = 0.0
        count, end = 0, float("inf")
        gc.disable()
        try:
            while (now := time.monotonic()) < end:
                if end == float("inf") and done():
                    end = now + settle
                took, waited = self._request()
                held, wall, count = max(held, took - waited), max(wall, took), count + 1
                time.sleep(_PAUSE)
        finally:
            gc.enable()
        return Observation(
            held=held * 1000,
            wall=wall * 1000,
            requests=count,
            processor=cpu_seconds([self._pid]) - used,
            stolen=(steal(self._processor) - stolen) * 1000,
            growth=max(0, memory([self._pid], "VmHWM") - before),
        )

    def _request(self) -> tuple[float, float]:
        """Make a request; return its duration, and how much of it was waiting for a processor."""
        waited, began = self._delays.seconds(), time.monotonic()
        try:
            self._socket.sendall(_REQUEST)
            received = b""
            while not received.endswith(_BODY):
                data = self._socket.recv(4096)
                if not data:
                    raise HungError("The router closed the connection of the probe")
                received += data
        except OSError as error:
            raise HungError(f"No response to the probe: {error!r}") from error
        took = time.monotonic() - began
        return took, min(took, self._delays.seconds() - waited)


def steal(processor: int) -> float:
    """Return the seconds that the hypervisor has taken from a processor so far."""
    for line in Path("/proc/stat").read_text().splitlines():
        name, *fields = line.split()
        if name == f"cpu{processor}":
            return int(fields[_STEAL_FIELD]) / _TICKS
    return 0.0
