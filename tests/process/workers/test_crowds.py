"""What holds when one process ends under load holds with workers as well."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import time
from collections import Counter
from pathlib import Path
from typing import ClassVar

from tests.process.faults import test_shutdown
from tests.process.faults.crowds import Midway
from tests.process.faults.upstreams import ONE, TWO
from tests.process.processes import received, until
from tests.unit.relay.upstreams import ROLE, TOKEN
from tests.unit.web.responses import Response, responses

_SERVES = re.compile(r"Worker \d+ \(process (\d+)\) serves")


class WorkersTestCase(test_shutdown.ShutdownTestCase):
    """A router with workers, which have all started."""

    workers: ClassVar = 2

    def crowd(self, **settings: str) -> None:
        """Start with these scripts, and wait for all workers."""
        super().crowd(WORKERS=str(self.workers), **settings)
        until(lambda: len(self.serving()) == self.workers)

    def serving(self) -> list[int]:
        """Return the processes that have begun to serve, in their order."""
        return [int(each) for each in _SERVES.findall(self.router.log)]

    def connections(self, pid: int) -> int:
        """Return the number of sockets of a process that lead to the router's port."""
        inodes = set()
        for line in Path(f"/proc/{pid}/net/tcp").read_text().splitlines()[1:]:
            fields = line.split()
            if int(fields[1].rpartition(":")[2], 16) == self.port and fields[3] == "01":
                inodes.add(f"socket:[{fields[9]}]")
        held = Counter(os.readlink(each) for each in Path(f"/proc/{pid}/fd").iterdir())
        return sum(held[inode] for inode in inodes)


class CrowdTests(WorkersTestCase):
    """Four workers with hundreds of streams."""

    workers = 4

    def test_killed_and_terminated(self) -> None:
        """A killed worker breaks its own streams only; SIGTERM treats 400 as one process 200."""
        drain = 4.0
        self.crowd(DRAIN_TIMEOUT_MS=str(int(drain * 1000)))
        self.assert_killed(200)
        self.go_on.clear()
        finishing = [self.midway(ONE) for _ in range(200)]
        lingering = [self.midway(TWO) for _ in range(200)]
        began = self.stop(signal.SIGTERM)
        self.go_on.set()
        for each in finishing:
            self.assert_complete(each.rest())
        for each in lingering:
            self.assert_interrupted(each.rest())
        self.assertGreater(time.monotonic() - began, drain - 0.1)
        self.assert_ended(signal.SIGTERM)

    def assert_killed(self, count: int) -> None:
        """Kill one of the workers; check the streams of all, and that another takes its place."""
        streams = [self.midway(ONE) for _ in range(count)]
        victim, *others = self.serving()
        shares = [self.connections(pid) for pid in (victim, *others)]
        self.assertEqual(sum(shares), count)
        self.assertLessEqual(max(shares), 1.15 * count / self.workers)
        os.kill(victim, signal.SIGKILL)
        until(lambda: len(self.serving()) == self.workers + 1)
        self.go_on.set()
        answers = [self.to_its_end(each) for each in streams]
        broken = [each for each in answers if not each.whole]
        self.assertEqual(len(broken), shares[0])
        for each in broken:
            self.assertEqual((each.status, each.body), (200, ROLE + TOKEN))
        for each in answers:
            if each.whole:
                self.assert_complete(each)
        self.assertIn(f"(process {victim}) was killed by SIGKILL", self.router.log)

    def to_its_end(self, stream: Midway) -> Response:
        """Return the response, read to its last chunk or to the end of the connection."""
        with stream.client, contextlib.suppress(ConnectionError):
            stream.got += received(stream.client, b"\r\n0\r\n\r\n")
        (response,) = responses(stream.got)
        return response


class CallsTests(WorkersTestCase, test_shutdown.CallsTests):
    """Unary calls at SIGTERM."""


class SignalTests(WorkersTestCase):
    """A second Ctrl-C."""

    def test_interrupted_twice(self) -> None:
        """A second SIGINT ends the drains of all workers that the first began."""
        self.crowd()
        streams = [self.midway(ONE) for _ in range(2 * self.workers)]
        self.stop(signal.SIGINT)
        self.router.signals(signal.SIGINT)
        for each in streams:
            self.assert_interrupted(each.rest())
        self.assert_ended(signal.SIGINT)
