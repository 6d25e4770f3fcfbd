"""The processes of the demo, which choose free ports themselves and are always stopped."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any

HOST = "127.0.0.1"
# What contains the stub, which need not be where installed packages are.
_FOLDER = Path(__file__).resolve().parents[2]
# Seconds until a terminated process is killed, and until a started one must listen.
_GRACE = 5.0
_PATIENCE = 60.0


class DemoError(Exception):
    """The demo cannot continue; the text is one line."""


class Process:
    """A child that prints the ports on which it listens; its output goes to a file in `folder`.

    `announces` is a regular expression for that line, with a group for each port. A port is read
    from the child's own output, never assumed: another program may listen on the expected one.
    """

    def __init__(
        self,
        name: str,
        folder: Path,
        command: Sequence[str],
        announces: str = r"://\S+:(\d+)",
        **settings: str,
    ) -> None:
        self._name = name
        self._folder = folder
        self._log = folder / f"{name.replace(' ', '-')}.log"
        self._command = command
        self._announces = re.compile(announces)
        self._settings = settings
        self._ports: tuple[int, ...] = ()
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it without this process's environment and signals. Raises DemoError."""
        try:
            with self._log.open("wb") as log:
                self._process = subprocess.Popen(
                    self._command,
                    cwd=self._folder,
                    env=_environment(self._settings),
                    stdin=subprocess.PIPE,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                )
        except OSError as error:
            raise DemoError(f"{self._name} could not be started: {error}") from None

    @property
    def ports(self) -> tuple[int, ...]:
        """The ports on which it listens; waits until it does. Raises DemoError."""
        end = time.monotonic() + _PATIENCE
        while not self._ports:
            self.check()
            if found := self._announces.search(self._log.read_text("utf-8", "replace")):
                self._ports = tuple(int(each) for each in found.groups() if each)
            elif time.monotonic() > end:
                raise DemoError(f"{self._name} did not listen within {_PATIENCE:g} s")
            else:
                time.sleep(0.02)
        return self._ports

    @property
    def port(self) -> int:
        """The first of the ports."""
        return self.ports[0]

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

    def wait(self, seconds: float | None = None) -> None:
        """Wait until it ends, or for some seconds."""
        if self._process is not None:
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(seconds)

    def terminate(self) -> None:
        """Request it to end."""
        if self._process is not None:
            self._process.terminate()

    def kill(self) -> None:
        """Kill it unless it has ended."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            assert self._process.stdin is not None
            self._process.stdin.close()

    def end(self) -> None:
        """Terminate it, and kill it if it does not end in time."""
        with ending(self):
            pass


@contextmanager
def ending(*processes: Process) -> Iterator[None]:
    """End these processes on leaving the block: in time, or at once on another interrupt."""
    try:
        yield
    finally:
        try:
            for each in processes:
                each.terminate()
            for each in processes:
                each.wait(_GRACE)
        finally:
            for each in processes:
                each.kill()


def stub(folder: Path, port: int = 0, *more: str) -> Process:
    """Return the stub's process, at a pace that a person can follow; `more` are its options."""
    pace = ("--prose", "--token-delay-ms", "45", "--first-token-delay-ms", "150")
    data = ("--measured-ago-ms", "90000", "--prefixes", "64")
    command = (*_child("stub_backend"), "--listen", f"{HOST}:{port}", *pace, *data, *more)
    return Process("the stub", folder, command)


def router(
    folder: Path, stub_port: int, port: int = 0, admin: str | None = "-", **more: str
) -> Process:
    """Return the process of the router, with the stub as its platform, and ``more`` settings.

    `admin` is the address of its /status page, by default that of the API. None is the router's
    own default, or another one if that is taken.
    """
    base = f"http://{HOST}:{stub_port}"
    settings = {
        "LISTEN_ADDR": f"{HOST}:{port}",
        "BACKEND_BASE_URL": base,
        "MESSAGES_BASE_URL": base,
        "RESPONSES_BASE_URL": base,
        "MODELS_URL": f"{base}/v1/models",
        "UTILIZATION_URL": f"{base}/chutes/utilization",
        "API_BASE_URL": base,
        # The stub may start to listen a moment after the router's first fetch.
        "MODELS_REFRESH_MS": "1000",
        "UTILIZATION_REFRESH_MS": "500",
        # A demo that ends has no request to wait for.
        "DRAIN_TIMEOUT_MS": "1000",
        **more,
    }
    if admin is not None:
        settings["ADMIN_LISTEN_ADDR"] = admin
    announces = r" on http://\S+:(\d+) \(API\)(?: and http://\S+:(\d+) \(operators\))?"
    return Process("the router", folder, (*_child("autopilot"), "run"), announces, **settings)


def _child(module: str) -> tuple[str, ...]:
    return sys.executable, "-m", "stub_backend.demo.child", module


def free_port() -> int:
    """Return a port on which no program listens."""
    with socket.create_server((HOST, 0)) as probe:
        return int(probe.getsockname()[1])


def check_free(port: int) -> None:
    """Raise DemoError if another program listens on this port."""
    with socket.socket() as probe:
        # As servers do: a connection that was closed a moment ago does not count.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError as error:
            raise DemoError(
                f"port {port} cannot be used ({error.strerror}); choose another one with --port,"
                " or any free one without it"
            ) from None


def get_json(port: int, path: str) -> Any:
    """Fetch a page's JSON. Raises DemoError."""
    try:
        return json.loads(_get(port, path)[1])
    except (OSError, HTTPException, ValueError) as error:
        raise DemoError(f"{path} could not be read: {error}") from None


def wait_until_ready(router: Process, watched: Iterable[Process]) -> str:
    """Wait for `/readyz` 200, and return the number of candidates as text. Raises DemoError."""
    processes, end = tuple(watched), time.monotonic() + _PATIENCE
    while time.monotonic() < end:
        for each in processes:
            each.check()
        try:
            status, body = _get(router.port, "/readyz")
        except (OSError, HTTPException):
            status, body = 0, b""
        if status == 200:
            return f"{json.loads(body)['candidates']} models"
        time.sleep(0.05)
    raise DemoError(f"the router was not ready after {_PATIENCE:g} s")


def _get(port: int, path: str) -> tuple[int, bytes]:
    connection = HTTPConnection(HOST, port, timeout=5)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        return response.status, response.read()
    finally:
        connection.close()


def _environment(settings: Mapping[str, str]) -> dict[str, str]:
    """Return a minimal environment, with the stub on the path even if it is not installed."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
    path = os.pathsep.join(filter(None, (str(_FOLDER), os.environ.get("PYTHONPATH"))))
    return {**kept, "PYTHONPATH": path, "PYTHONUNBUFFERED": "1", **settings}
