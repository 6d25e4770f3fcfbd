"""The processes of the demo, which listen on free ports and are always stopped."""

from __future__ import annotations

import json
import os
import select
import socket
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any

HOST = "127.0.0.1"
_PROJECT = Path(__file__).resolve().parent.parent
_GRACE = 5.0


class DemoError(Exception):
    """The demo cannot continue; the text is one line."""


class Process:
    """A child that listens on `port`; its output goes to a file in `folder`."""

    def __init__(
        self, name: str, folder: Path, port: int, command: Sequence[str], **settings: str
    ) -> None:
        self.port = port
        self._name = name
        self._folder = folder
        self._log = folder / f"{name.replace(' ', '-')}.log"
        self._command = command
        self._settings = settings
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it without this process's environment and signals. Raises DemoError."""
        try:
            with self._log.open("wb") as log:
                self._process = subprocess.Popen(
                    self._command,
                    cwd=self._folder,
                    env=_environment(self._settings),
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                )
        except OSError as error:
            raise DemoError(f"{self._name} could not be started: {error}") from None

    @property
    def status(self) -> int | None:
        """The exit status, negative for a signal; None while it runs and before."""
        return None if self._process is None else self._process.poll()

    def check(self) -> None:
        """Raise DemoError with the last line of its log if it has ended."""
        status = self.status
        if status is not None:
            lines = self._log.read_text("utf-8", "replace").strip().splitlines()
            last = lines[-1] if lines else "its log is empty"
            raise DemoError(f"{self._name} ended with status {status}: {last}")

    def wait(self) -> None:
        """Wait until it ends."""
        if self._process is not None:
            self._process.wait()

    def end(self) -> None:
        """Terminate it, and kill it if it does not end in time."""
        if self._process is None:
            return
        self._process.terminate()
        try:
            self._process.wait(_GRACE)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


def stub(folder: Path) -> Process:
    """Return the stub's process, at a pace that a person can follow."""
    port = free_port()
    pace = ("--tokens", "16", "--token-delay-ms", "60", "--first-token-delay-ms", "150")
    command = (sys.executable, "-m", "stub_backend", "--listen", f"{HOST}:{port}", *pace)
    return Process("the stub", folder, port, command)


def router(folder: Path, stub_port: int, port: int = 0, admin: str = "-") -> Process:
    """Return the process of the router under `twistd`, with the stub as its platform.

    ``admin`` is the address of its /status page; by default it is on the port of the API.
    """
    own = port or free_port()
    twistd = str(Path(sys.executable).parent / "twistd")
    base = f"http://{HOST}:{stub_port}"
    settings = {
        "LISTEN_ADDR": f"{HOST}:{own}",
        "ADMIN_LISTEN_ADDR": admin,
        "BACKEND_BASE_URL": base,
        "MESSAGES_BASE_URL": base,
        "RESPONSES_BASE_URL": base,
        "MODELS_URL": f"{base}/v1/models",
        "UTILIZATION_URL": f"{base}/chutes/utilization",
        "API_BASE_URL": base,
        # The stub may start to listen a moment after the router's first fetch.
        "MODELS_REFRESH_MS": "1000",
        "UTILIZATION_REFRESH_MS": "1000",
    }
    reactor = "autopilot" if hasattr(select, "epoll") else "default"
    command = (twistd, "--nodaemon", "--pidfile=", f"--reactor={reactor}", "autopilot")
    return Process("the router", folder, own, command, **settings)


def free_port(preferred: int = 0) -> int:
    """Return a port on which no process listens: the preferred one, if it is free."""
    with socket.socket() as probe:
        try:
            probe.bind((HOST, preferred))
        except OSError:
            probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


def get_json(port: int, path: str) -> Any:
    """Fetch a page's JSON. Raises DemoError."""
    try:
        return json.loads(_get(port, path)[1])
    except (OSError, HTTPException, ValueError) as error:
        raise DemoError(f"{path} could not be read: {error}") from None


def wait_until_ready(port: int, watched: Iterable[Process], patience: float) -> str:
    """Wait for `/readyz` 200, and return the number of candidates as text. Raises DemoError."""
    processes, end = tuple(watched), time.monotonic() + patience
    while time.monotonic() < end:
        for each in processes:
            each.check()
        try:
            status, body = _get(port, "/readyz")
        except (OSError, HTTPException):
            status, body = 0, b""
        if status == 200:
            return f"{json.loads(body)['candidates']} candidates"
        time.sleep(0.05)
    raise DemoError(f"the router was not ready after {patience:g} s")


def _get(port: int, path: str) -> tuple[int, bytes]:
    connection = HTTPConnection(HOST, port, timeout=5)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        return response.status, response.read()
    finally:
        connection.close()


def _environment(settings: Mapping[str, str]) -> dict[str, str]:
    """Return a minimal environment, with the project on the path even if it is not installed."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
    path = os.pathsep.join(filter(None, (str(_PROJECT), os.environ.get("PYTHONPATH"))))
    return {**kept, "PYTHONPATH": path, "PYTHONUNBUFFERED": "1", **settings}
