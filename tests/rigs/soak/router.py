"""The router under test: its process, its log, and its resources in `/proc`."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from benchmarks.accounting import cpu_seconds, memory, session_members
from tests.rigs.smoke.processes import RouterProcess
from tests.rigs.soak.failovers import Times
from tests.rigs.soak.ledger import Ledger
from tests.rigs.soak.observations import Record
from tests.rigs.soak.requests import MAX_BODY

FAILOVER_AFTER: Final = 0.8
IDLE: Final = 2.0
TOTAL: Final = 8.0
MAX_ATTEMPTS: Final = 4

SETTINGS: Final[Mapping[str, str]] = {
    "LOG_FORMAT": "json",
    "MAX_ATTEMPTS": str(MAX_ATTEMPTS),
    "MAX_REQUEST_BYTES": str(MAX_BODY),
    "FAILOVER_AFTER_MS": f"{FAILOVER_AFTER * 1000:.0f}",
    "PLAIN_FAILOVER_AFTER_MS": "1500",
    "TOTAL_DEADLINE_MS": f"{TOTAL * 1000:.0f}",
    "UPSTREAM_CONNECT_TIMEOUT_MS": "1000",
    "UPSTREAM_HEADER_TIMEOUT_MS": "2500",
    "UPSTREAM_UNARY_TIMEOUT_MS": "3000",
    "UPSTREAM_FIRST_BODY_BYTE_TIMEOUT_MS": "2000",
    "UPSTREAM_IDLE_TIMEOUT_MS": f"{IDLE * 1000:.0f}",
    "UPSTREAM_POOL_IDLE_MS": "1000",
    "ERROR_BODY_TIMEOUT_MS": "500",
    "COOLDOWN_MS": "2000",
    "LIST_RETRY_MS": "2000",
    # Bounded stores fill up before the second half of a run, so that memory can be constant.
    "STICKY_MAX_ENTRIES": "500",
    "STICKY_TTL_SECS": "60",
    "MODELS_REFRESH_MS": "1500",
    "UTILIZATION_REFRESH_MS": "500",
    "EVIDENCE_REFRESH_MS": "0",
    "CONTROL_PLANE_TIMEOUT_MS": "700",
    "CLIENT_HEADER_TIMEOUT_MS": "2000",
    "CLIENT_BODY_TIMEOUT_MS": "3000",
    "DRAIN_TIMEOUT_MS": "5000",
}
"""Deadlines of a few seconds, so that a run of minutes reaches each of them often."""

_LOUD: Final = frozenset({"error", "critical"})


def times(**disturbances: Any) -> Times:
    """Return the parts of the settings that the judge needs."""
    return Times(FAILOVER_AFTER, IDLE, TOTAL, MAX_ATTEMPTS, **disturbances)


class RouterUnderTest(RouterProcess):
    """A router with the settings of the soak test; `/proc` shows its open files and memory."""

    def __init__(self, folder: Path, upstream_port: int, **settings: str) -> None:
        super().__init__("router", folder, upstream_port, {**SETTINGS, **settings})

    @property
    def pids(self) -> list[int]:
        """The process ids of the router and its workers."""
        return session_members(self.pid)

    def descriptors(self) -> int:
        """Return the number of open files of all processes."""
        return sum(len(os.listdir(f"/proc/{pid}/fd")) for pid in self.pids)

    def resident(self) -> int:
        """Return the resident memory of all processes in bytes."""
        return memory(self.pids)

    def processor(self) -> float:
        """Return the processor time of all processes in seconds."""
        return cpu_seconds(self.pids)


class LogReader:
    """Follows the log: records go to the ledger, anything unexpected is a violation."""

    def __init__(self, path: Path, ledger: Ledger) -> None:
        self._path = path
        self._ledger = ledger
        self._at = 0
        self.lines = 0
        self.levels: Counter[str] = Counter()

    def read(self) -> None:
        """Read the new lines, up to the last complete one."""
        with self._path.open("rb") as log:
            log.seek(self._at)
            text = log.read()
        whole = text[: text.rfind(b"\n") + 1]
        self._at += len(whole)
        for line in whole.splitlines():
            self.line(line)

    def line(self, line: bytes) -> None:
        """Process one line: it must be JSON, and not an error."""
        self.lines += 1
        try:
            event = json.loads(line)
            level, logger = str(event["level"]), str(event["logger"])
        except (ValueError, KeyError, TypeError):
            self._ledger.violation("log", f"an invalid line in the log: {line[:300]!r}")
            return
        self.levels[level] += 1
        if logger == "autopilot.requests" and "req_id" in event:
            self._ledger.recorded(Record.of(event))
        if level in _LOUD or "traceback" in event or b"Traceback" in line:
            self._ledger.violation("log", f"an error was logged: {line[:1500]!r}")
