"""The routers that inputs are played against, each a process on a processor of its own."""

from __future__ import annotations

import os
import socket
import ssl
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from benchmarks.accounting import memory
from tests.rigs.hold.input import Port
from tests.rigs.hold.wire import chat, get, post, stream_request
from tests.rigs.smoke.client import HOST, Exchange, NoAnswerError, Reply
from tests.rigs.smoke.client import get as fetch
from tests.rigs.smoke.processes import RouterProcess, free_port

_USUAL: Final[Mapping[str, str]] = {
    # Two inputs must not meet: no refresh, no cooldown and no deadline within one.
    "MODELS_REFRESH_MS": "86400000",
    "UTILIZATION_REFRESH_MS": "86400000",
    "READYZ_MAX_SNAPSHOT_AGE_MS": "86400000",
    "READYZ_MAX_ALLOWLIST_AGE_MS": "86400000",
    "EVIDENCE_REFRESH_MS": "0",
    "COOLDOWN_MS": "0",
    "LOG_FORMAT": "json",
}


@dataclass(frozen=True, slots=True)
class Setup:
    """One way to run the router. ``embedded``: in a site with Twisted's own channel.

    ``tls``: the API's port speaks TLS.
    """

    name: str
    settings: Mapping[str, str] = field(default_factory=dict)
    models: int = 220
    embedded: bool = False
    tls: bool = False
    upstream_tls: bool = False
    unread_log: bool = False


SETUPS: Final = {
    each.name: each
    for each in (
        Setup("own"),
        Setup("embedded", embedded=True),
        Setup("TLS", tls=True),
        Setup("upstream TLS", upstream_tls=True),
        Setup("strict", {"SSE_GUARD": "strict"}),
        Setup("2000 models", models=2000),
        Setup("unread log", unread_log=True),
        Setup(
            "feeds",
            {
                "MODELS_REFRESH_MS": "700",
                "UTILIZATION_REFRESH_MS": "500",
                "READYZ_MAX_SNAPSHOT_AGE_MS": "86400000",
            },
        ),
    )
}


@dataclass(frozen=True, slots=True)
class Addresses:
    """The ports of the upstream, and the files of a certificate, its key and its authority."""

    plain: int
    tls: int
    certificate: Path
    key: Path
    authority: Path

    def context(self) -> ssl.SSLContext:
        """Return the context of a client that trusts the authority."""
        return ssl.create_default_context(cafile=self.authority)


class HeldRouter(RouterProcess):
    """A router of a setup, which also knows the port of the operators' pages and its memory."""

    def __init__(
        self, setup: Setup, folder: Path, addresses: Addresses, processor: int | None
    ) -> None:
        self.setup = setup
        self.fresh = 0
        self._processor = processor
        self._unread: int | None = None
        self.admin_port = free_port()
        settings = {**_USUAL, **setup.settings, **self._admin(setup)}
        base = f"http://{HOST}:{addresses.plain}"
        if setup.upstream_tls:
            base = f"https://{HOST}:{addresses.tls}"
            settings |= {"BACKEND_BASE_URL": base, "UPSTREAM_CA_FILE": str(addresses.authority)}
        if setup.tls:
            settings |= {"TLS_CERT_FILE": str(addresses.certificate)}
            settings |= {"TLS_KEY_FILE": str(addresses.key)}
        self.context = addresses.context() if setup.tls else None
        settings |= {"MESSAGES_BASE_URL": base, "RESPONSES_BASE_URL": base}
        super().__init__(setup.name.replace(" ", "-"), folder, addresses.plain, settings)
        if setup.embedded:
            self._command = (sys.executable, "-m", "tests.rigs.hold.embedded")
            self.admin_port = self.port

    def _admin(self, setup: Setup) -> Mapping[str, str]:
        """Return the setting of the operators' port; an embedded router has none of its own."""
        return {"ADMIN_LISTEN_ADDR": "-" if setup.embedded else f"{HOST}:{self.admin_port}"}

    @property
    def pid(self) -> int:
        """The process id."""
        assert self._process is not None
        return self._process.pid

    def port_of(self, port: Port) -> int:
        """Return the number of a port."""
        return self.port if port is Port.API else self.admin_port

    @property
    def probed_port(self) -> int:
        """The port that the probe uses, which does not speak TLS."""
        return self.admin_port if self.setup.tls else self.port

    def readyz(self) -> Reply | None:
        """See `RouterProcess.readyz`."""
        try:
            return fetch(self.probed_port, "/readyz").finish()
        except (OSError, NoAnswerError):
            return None

    def begin(self) -> None:
        """Start the process on its processor, and warm it up with honest requests."""
        self.start()
        if self._processor is not None:
            for thread in os.listdir(f"/proc/{self.pid}/task"):
                os.sched_setaffinity(int(thread), {self._processor})
        self.wait_ready()
        for _ in range(3):
            for wire in (get("/v1/models")(), post(chat()), stream_request("acme/one")()):
                self._exchange(wire)
            for path in ("/status", "/status.json", "/metrics"):
                Exchange(self.admin_port, get(path)()).finish()
        self.fresh = memory([self.pid])

    def _exchange(self, wire: bytes) -> None:
        """Make a request, which closes its connection."""
        with socket.create_connection((HOST, self.port), timeout=20.0) as plain:
            connection = plain
            if self.context is not None:
                connection = self.context.wrap_socket(plain, server_hostname=HOST)
            connection.sendall(wire)
            while connection.recv(65_536):
                pass

    def start(self, *, wait: bool = True) -> None:
        """Start the process, with a pipe that is not read for its output if the setup says so."""
        if not self.setup.unread_log:
            super().start(wait=wait)
            return
        reading, writing = os.pipe()
        self._unread = reading
        environment = {**os.environ, **self._settings, "PYTHONUNBUFFERED": "1"}
        self._process = subprocess.Popen(
            self._command,
            cwd=self._folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=writing,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        os.close(writing)

    @property
    def retained(self) -> int:
        """The memory in bytes that the process keeps from earlier inputs."""
        return max(0, memory([self.pid]) - self.fresh)

    def kill(self) -> None:
        """Kill the process."""
        super().kill()
        if self._unread is not None:
            os.close(self._unread)
            self._unread = None
