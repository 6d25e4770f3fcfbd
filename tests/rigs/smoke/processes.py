"""The router and the stub backend as child processes, which never outlive the run."""

from __future__ import annotations

import os
import random
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from autopilot.web.shared_rendering import FRESHNESS
from tests.rigs.smoke.client import HOST, NoAnswerError, Reply, fetch_json, get, refused
from tests.rigs.smoke.waiting import LIMIT, until

ROOT = Path(__file__).resolve().parents[3]
# Below the system's range of ephemeral ports: an outgoing connection must not take a port while a
# scenario has it closed.
_PORTS = range(20_000, 32_000)


class DiedError(Exception):
    """A child exited before it was ready."""


def free_port() -> int:
    """Return a port on which no process listens."""
    while True:
        port = random.choice(_PORTS)
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((HOST, port))
            except OSError:
                continue
            return port


class Child:
    """A process in the working directory `folder`, whose output goes to a file there."""

    def __init__(self, name: str, folder: Path, command: Sequence[str], **settings: str) -> None:
        self.name = name
        self.log = folder / f"{name}.log"
        self._folder = folder
        self._command = command
        self._settings = settings
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start the process in its own session, with its own environment."""
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                self._command,
                cwd=self._folder,
                env=_environment(self._settings),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def signal(self, number: signal.Signals) -> None:
        """Send a signal, if the process still runs."""
        if self._process is not None:
            self._process.send_signal(number)

    @property
    def pid(self) -> int:
        """The process id, also that of its session."""
        assert self._process is not None
        return self._process.pid

    @property
    def status(self) -> int | None:
        """The exit status, negative for a signal; None while the process runs."""
        return None if self._process is None else self._process.poll()

    def wait(self, limit: float = LIMIT) -> int:
        """Wait for the process to exit; return its exit status."""
        assert self._process is not None
        return self._process.wait(limit)

    def kill(self) -> None:
        """Kill the process."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def output(self) -> bytes:
        """Return the output so far."""
        return self.log.read_bytes() if self.log.exists() else b""

    def wait_listening(self, port: int) -> None:
        """Wait until the process listens on a port."""

        def listens() -> bool:
            self._alive()
            return not refused(port)

        until(f"{self.name} listens", listens)

    def _alive(self) -> None:
        if self.status is not None:
            last = self.output().decode("utf-8", "replace").strip().splitlines()[-3:]
            raise DiedError(f"{self.name} ended with status {self.status}: {' | '.join(last)}")


class StubProcess(Child):
    """The stub backend in place of the platform."""

    def __init__(self, name: str, folder: Path, arguments: Sequence[str]) -> None:
        self.port = free_port()
        self.arguments = ("--listen", f"{HOST}:{self.port}", *arguments)
        command = (sys.executable, "-m", "stub_backend", *self.arguments)
        super().__init__(name, folder, command)

    def start(self) -> None:
        """Start the process and wait until it listens."""
        super().start()
        self.wait_listening(self.port)

    def reset(self) -> None:
        """Clear the log and all scripts, and restore the feeds."""
        fetch_json(self.port, "/stub/reset", {})

    def feeds(self, **modes: str) -> None:
        """Set the behaviour of the feeds `models` and `utilization`."""
        fetch_json(self.port, "/stub/feeds", modes)

    def script(self, model: str, steps: Sequence[str], then: str = "ok") -> None:
        """Script a model: one scenario for each call, and `then` for all later calls."""
        fetch_json(
            self.port, "/stub/scenario", {"model": model, "script": list(steps), "then": then}
        )

    def calls(self) -> list[dict[str, Any]]:
        """Return the completion requests since the last reset."""
        log = fetch_json(self.port, "/stub/log")
        return [each for each in log["requests"] if each["method"] == "POST"]


class RouterProcess(Child):
    """The router, started by `twistd` or by another command."""

    def __init__(
        self,
        name: str,
        folder: Path,
        stub_port: int,
        settings: Mapping[str, str],
        command: Sequence[str] = (),
    ) -> None:
        self.port = free_port()
        base = f"http://{HOST}:{stub_port}"
        own = {
            "LISTEN_ADDR": f"{HOST}:{self.port}",
            "ADMIN_LISTEN_ADDR": "-",
            "BACKEND_BASE_URL": base,
            "MODELS_URL": f"{base}/v1/models",
            "UTILIZATION_URL": f"{base}/chutes/utilization",
            "API_BASE_URL": base,
        }
        super().__init__(name, folder, command or twistd_command(), **{**own, **settings})

    def start(self, *, wait: bool = True) -> None:
        """Start the process and, with `wait`, wait until it listens; it need not be ready."""
        super().start()
        if not wait:
            return

        def serves() -> bool:
            self._alive()
            return not refused(self.port)

        until("the router serves", serves)

    def readyz(self) -> Reply | None:
        """Return the response of `/readyz`; None if there is none."""
        try:
            return get(self.port, "/readyz").finish()
        except (OSError, NoAnswerError):
            return None

    def wait_ready(self) -> None:
        """Wait until `/readyz` responds with 200."""

        def ready() -> bool:
            self._alive()
            reply = self.readyz()
            return reply is not None and reply.status == 200

        until("the router is ready", ready)

    def ranking(self) -> list[str]:
        """Return the models in order of rank."""
        return [each["name"] for each in fetch_json(self.port, "/status.json")["ranking"]]

    def failovers(self) -> dict[str, int]:
        """Return the counter of each failover reason.

        The router renders its metrics at most once a second, so older ones have to expire first.
        """
        time.sleep(FRESHNESS)
        text = get(self.port, "/metrics").finish().body.decode()
        prefix = 'chutes_autopilot_failover_reason_total{reason="'
        lines = (line.removeprefix(prefix) for line in text.splitlines() if line.startswith(prefix))
        pairs = (line.split('"} ') for line in lines)
        return {reason: int(float(count)) for reason, count in pairs}


def twistd_command() -> tuple[str, ...]:
    """Return the command `twistd autopilot` for this interpreter and the reactor of `make run`."""
    twistd = Path(sys.executable).parent / "twistd"
    reactor = "autopilot" if hasattr(select, "epoll") else "default"
    return (str(twistd), "--nodaemon", "--pidfile=", f"--reactor={reactor}", "autopilot")


def _environment(settings: Mapping[str, str]) -> dict[str, str]:
    """Return a minimal environment, with the project on the path whether installed or not."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
    path = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
    return {**kept, "PYTHONPATH": path, "PYTHONUNBUFFERED": "1", **settings}
