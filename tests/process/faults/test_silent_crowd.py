"""Thousands of clients that connect and send nothing; ``SILENT_CLIENTS`` sets their number."""

from __future__ import annotations

import os
import resource
import time
from contextlib import ExitStack
from unittest import skipIf

from tests.process.faults.cases import FaultTestCase
from tests.process.faults.upstreams import TWO
from tests.process.faults.vitals import released, resident, settled
from tests.process.processes import PATIENCE, until

_CLIENTS = int(os.environ.get("SILENT_CLIENTS", "2000"))
_SOFT, _HARD = resource.getrlimit(resource.RLIMIT_NOFILE)
_NEEDED = _CLIENTS + 200
_HEADER_TIMEOUT = 2.0 + _CLIENTS / 1000
_BYTES_EACH = 16384


@skipIf(_HARD < _NEEDED, "this user may not open so many files")
class SilentCrowdTests(FaultTestCase):
    """One router and many clients, within the limits of open files of both processes."""

    def setUp(self) -> None:
        """Raise the limit, which the router inherits."""
        if _SOFT < _NEEDED:
            resource.setrlimit(resource.RLIMIT_NOFILE, (_NEEDED, _HARD))
            self.addCleanup(resource.setrlimit, resource.RLIMIT_NOFILE, (_SOFT, _HARD))
        self.start(
            CLIENT_HEADER_TIMEOUT_MS=str(int(_HEADER_TIMEOUT * 1000)), UPSTREAM_POOL_IDLE_MS="0"
        )

    def test_others_are_served(self) -> None:
        """Calls are served meanwhile; then all silent clients are disconnected, without leaks."""
        pid = self.router.process.pid
        at_rest, memory = settled(pid), resident(pid)
        with ExitStack() as stack:
            crowd = []
            slowest = 0.0
            for number in range(_CLIENTS):
                crowd.append(stack.enter_context(self.client()))
                if number % 100 == 99:
                    slowest = max(slowest, self._served())
            until(lambda: self.descriptors() >= _CLIENTS)
            for _ in range(20):
                slowest = max(slowest, self._served())
            self.assertGreaterEqual(self.descriptors(), _CLIENTS)
            self.assertLess((resident(pid) - memory) / _CLIENTS, _BYTES_EACH)
            for client in crowd:
                client.settimeout(PATIENCE)
                self.assertEqual(client.recv(1), b"")
        self.assert_well()
        self.assertTrue(released(pid, at_rest))
        self.assertLess(slowest, 2.0)

    def _served(self) -> float:
        """Make one call; return its duration."""
        began = time.monotonic()
        self.assert_served_by_second(self.ask(f"{TWO},{TWO}"))
        return time.monotonic() - began
