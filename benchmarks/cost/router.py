"""Router process under measurement: started with a tool around it, marked, and stopped."""

from __future__ import annotations

import json
import os
import select
import signal
import sysconfig
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from benchmarks.cost.launcher import MARK
from benchmarks.cost.scenarios import Setup
from benchmarks.processes import HOST, PROJECT, Child, Cores, answers, free_port
from benchmarks.servers import Upstream, private_settings

_START_PATIENCE: Final = 300.0  # in an emulator it takes a minute
_MARK_PATIENCE: Final = 60.0
_SETTLE: Final = 0.02
_READ_BYTES: Final = 65536
_A_DAY: Final = str(24 * 60 * 60 * 1000)

# No periodic work in a window, and no random seeds.
_QUIET: Final = {
    "MODELS_REFRESH_MS": _A_DAY,
    "UTILIZATION_REFRESH_MS": _A_DAY,
    "EVIDENCE_REFRESH_MS": "0",
    "READYZ_MAX_SNAPSHOT_AGE_MS": _A_DAY,
    "READYZ_MAX_ALLOWLIST_AGE_MS": _A_DAY,
    "CONTROL_PLANE_TIMEOUT_MS": "120000",
    "UPSTREAM_CONNECT_TIMEOUT_MS": "60000",
    "UPSTREAM_POOL_IDLE_MS": _A_DAY,
    "STICKY_HASH_KEY": "cost",
    "PYTHONHASHSEED": "0",
}


@dataclass(frozen=True, slots=True)
class Tool:
    """How to run the launcher: whether it counts calls, and the tool around it."""

    count: str
    command: tuple[str, ...] = ()
    environment: Mapping[str, str] | None = None


class Router:
    """A serving router, killed on leaving the context. `reports` has one report per mark."""

    def __init__(
        self, python: str, tool: Tool, setup: Setup, upstream: Upstream, folder: Path
    ) -> None:
        self.port = free_port()
        self.reports: list[dict[str, Any]] = []
        pipe = folder / "marks"
        os.mkfifo(pipe)
        # Opened for both, the pipe has no end of file before the launcher opens it.
        self._pipe = os.open(pipe, os.O_RDWR)
        self._unread = b""
        self._child = Child(
            "router",
            (*tool.command, *_launch(python, pipe, tool)),
            core=Cores.available().proxy,
            folder=folder,
            environment={
                **_settings(self.port, upstream),
                **_QUIET,
                **setup.settings,
                **(private_settings(upstream, folder) if setup.private else {}),
                **(tool.environment or {}),
            },
        )

    def __enter__(self) -> Self:
        try:
            self._pid = int(self._hear(_START_PATIENCE)["pid"])
            self._child.wait_until(lambda: answers(self.port, "/readyz"), _START_PATIENCE)
        except BaseException:
            self._close()
            raise
        return self

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        self._close()

    def mark(self) -> int:
        """End a window, begin the next, and return the number of the one that ended."""
        # The client reads the last response before the router has finished its bookkeeping.
        time.sleep(_SETTLE)
        os.kill(self._pid, MARK)
        self.reports.append(self._hear(_MARK_PATIENCE))
        # The signal also wakes the reactor; that turn must not coincide with the first unit.
        time.sleep(_SETTLE)
        return len(self.reports) - 1

    def stop(self) -> None:
        """Kill the router alone, so that the tool around it can write all its output."""
        os.kill(self._pid, signal.SIGKILL)
        self._child.wait(_MARK_PATIENCE)

    def _close(self) -> None:
        self._child.kill()
        os.close(self._pipe)

    def _hear(self, patience: float) -> dict[str, Any]:
        """Return the next line of the launcher. Raises `ProcessError` when none comes in time."""
        end = time.monotonic() + patience
        while b"\n" not in self._unread:
            ready, _, _ = select.select([self._pipe], [], [], 0.1)
            if ready:
                self._unread += os.read(self._pipe, _READ_BYTES)
            elif time.monotonic() > end or self._child.ended:
                raise self._child.failure("did not answer the measurement")
        line, _, self._unread = self._unread.partition(b"\n")
        value: dict[str, Any] = json.loads(line)
        return value


def _launch(python: str, pipe: Path, tool: Tool) -> Sequence[str]:
    launcher = (python, "-m", "benchmarks.cost.launcher", str(pipe), tool.count)
    return (*launcher, "--nodaemon", "--pidfile=", "--reactor=autopilot", "autopilot")


def _settings(port: int, upstream: Upstream) -> dict[str, str]:
    base = upstream.url
    # An interpreter other than this one needs the path to the installed packages.
    paths = (str(PROJECT), sysconfig.get_path("purelib"), sysconfig.get_path("platlib"))
    settings = {
        "PYTHONPATH": os.pathsep.join(dict.fromkeys(paths)),
        "LISTEN_ADDR": f"{HOST}:{port}",
        "BACKEND_BASE_URL": base,
        "MODELS_URL": f"{base}/v1/models",
        "UTILIZATION_URL": f"{base}/chutes/utilization",
    }
    if upstream.ca_file is not None:
        settings["UPSTREAM_CA_FILE"] = str(upstream.ca_file)
    return settings
