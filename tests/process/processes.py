"""Router processes under ``twistd``, and a platform for them, on real sockets of this machine."""

from __future__ import annotations

import os
import re
import signal
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from threading import Event, Thread
from typing import Any

from autopilot.settings import DECLARED
from tests.unit.feeds.records import catalog_body, entry, record, utilization_body
from tests.unit.relay.upstreams import SSE, TOKEN, chunk, head, whole

ROOT = Path(__file__).resolve().parent.parent.parent
PATIENCE = 20.0
_START = "import sys; from twisted.scripts.twistd import run; sys.argv[0] = 'twistd'; run()"


class Platform:
    """Feeds, and chats that send one token and continue once ``go_on`` is set.

    It uses blocking sockets and a thread per connection, and shares no code with the router.
    """

    patience = PATIENCE
    """The seconds after which it continues by itself."""

    def __init__(
        self, rest: bytes, host: str = "127.0.0.1", context: ssl.SSLContext | None = None
    ) -> None:
        self._rest = rest
        self._context = context
        self.go_on = Event()
        self._socket = socket.create_server((host, 0))
        self.port = self._socket.getsockname()[1]
        Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with ExitStack() as stack:
            try:
                if self._context is not None:
                    connection = self._context.wrap_socket(connection, server_side=True)
                self._answer(stack.enter_context(connection))
            except OSError:
                connection.close()

    def _answer(self, connection: socket.socket) -> None:
        while received := connection.recv(65536):
            if received.startswith(b"GET /v1/models"):
                connection.sendall(whole(200, catalog_body(entry("acme/one"))))
            elif received.startswith(b"GET /chutes"):
                connection.sendall(whole(200, utilization_body(record("acme/one"))))
            elif received.startswith(b"POST"):
                connection.sendall(head(200, SSE) + chunk(TOKEN))
                self.go_on.wait(self.patience)
                connection.sendall(self._rest)

    def close(self) -> None:
        """Accept no more connections."""
        self.go_on.set()
        self._socket.close()


class Router:
    """A process of ``twistd autopilot``, whose log is read from its standard output."""

    launcher: tuple[str, ...] = ()
    """A command that executes the router, with these descriptors open."""
    descriptors: tuple[int, ...] = ()
    options: tuple[str, ...] = ()
    """Further options for ``twistd``."""

    output: int | None = None
    """The descriptor of the standard output, in place of the file of the log."""

    def __init__(self, folder: str, platform_port: int, **variables: str) -> None:
        os.makedirs(folder)
        base = f"http://127.0.0.1:{platform_port}"
        ours = {name for setting in DECLARED for name in setting.spellings}
        environ = {name: text for name, text in os.environ.items() if name not in ours}
        environ.update(
            PYTHONPATH=str(ROOT),
            PYTHONUNBUFFERED="1",
            LISTEN_ADDR="127.0.0.1:0",
            ADMIN_LISTEN_ADDR="-",
            BACKEND_BASE_URL=base,
            MODELS_URL=f"{base}/v1/models",
            UTILIZATION_URL=f"{base}/chutes/utilization",
            API_BASE_URL=base,
        )
        environ.update(variables)
        self._path = Path(folder, "log").absolute()
        self._open = ExitStack()
        log = self._open.enter_context(self._path.open("wb"))
        self.process = subprocess.Popen(
            (
                *self.launcher,
                *(sys.executable, "-c", _START, "--nodaemon", "--pidfile="),
                *(*self.options, "autopilot"),
            ),
            cwd=folder,
            env=environ,
            stdout=log if self.output is None else self.output,
            stderr=subprocess.STDOUT,
            pass_fds=self.descriptors,
        )

    @property
    def log(self) -> str:
        """The log so far."""
        return self._path.read_text()

    def port(self) -> int:
        """The port, once the router listens."""
        until(lambda: self.process.poll() is not None or "(API)" in self.log)
        found = re.search(r" on https?://\S+:(\d+)(?:, \S+)* \(API\)", self.log)
        assert found is not None, self.log
        return int(found.group(1))

    def signals(self, number: signal.Signals) -> None:
        """Send a signal."""
        self.process.send_signal(number)

    def ends(self) -> int:
        """Wait for the process to exit; return its status."""
        return self.process.wait(PATIENCE)

    def close(self) -> None:
        """Kill the process if it still runs."""
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        self._open.close()


def until(true: Callable[[], Any], patience: float = PATIENCE) -> None:
    """Poll until the condition is true."""
    end = time.monotonic() + patience
    while not true():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.01)


def received(client: socket.socket, wanted: bytes = b"") -> bytes:
    """Read from the socket up to and including ``wanted``, or to the end."""
    got = b""
    while not wanted or wanted not in got:
        data = client.recv(65536)
        if not data:
            break
        got += data
    return got
