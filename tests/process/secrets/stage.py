"""A router and its platform as processes, full of canaries, and all their output."""

from __future__ import annotations

import contextlib
import socket
import socketserver
import struct
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from threading import Thread

from tests.process.secrets import telltale
from tests.process.secrets.canaries import Canary, Scanner, canary, loopback
from tests.rigs.smoke.processes import Child, StubProcess, free_port
from tests.rigs.smoke.waiting import until
from tests.unit.web.responses import Response

HERE = "127.0.0.1"
PATIENCE = 20.0
UNKNOWN = ".unknown.test"
"""The end of names for which the router's process finds no address."""
_TIMES = {
    "MODELS_REFRESH_MS": "100",
    "UTILIZATION_REFRESH_MS": "100",
    "CONTROL_PLANE_TIMEOUT_MS": "250",
    "FAILOVER_AFTER_MS": "250",
    "PLAIN_FAILOVER_AFTER_MS": "250",
    "UPSTREAM_CONNECT_TIMEOUT_MS": "400",
    "UPSTREAM_HEADER_TIMEOUT_MS": "500",
    "UPSTREAM_UNARY_TIMEOUT_MS": "500",
    "UPSTREAM_FIRST_BODY_BYTE_TIMEOUT_MS": "400",
    "UPSTREAM_IDLE_TIMEOUT_MS": "600",
    "CLIENT_HEADER_TIMEOUT_MS": "1500",
    "CLIENT_BODY_TIMEOUT_MS": "1200",
    "DRAIN_DELAY_MS": "300",
    "DRAIN_TIMEOUT_MS": "300",
    "COOLDOWN_MS": "0",
}
# Everything is known about these models, so that a request can exceed their limits.
_ONLY_SCENARIOS = ("--models=0", "--other-chutes=0", "--private-chutes=0")
MAX_ACTIVE = 24
MAX_BODY = 50_000


@dataclass(frozen=True)
class Secrets:
    """One secret of each kind, invented for this run."""

    bearer: Canary = field(default_factory=lambda: canary("bearer", "canary-{}/+="))
    api_key: Canary = field(default_factory=lambda: canary("api-key"))
    cookie: Canary = field(default_factory=lambda: canary("cookie"))
    agent: Canary = field(default_factory=lambda: canary("agent"))
    custom: Canary = field(default_factory=lambda: canary("custom"))
    request_id: Canary = field(default_factory=lambda: canary("request-id", "canary-{}\t\u00e9"))
    query: Canary = field(default_factory=lambda: canary("query"))
    path: Canary = field(default_factory=lambda: canary("path"))
    host: Canary = field(default_factory=lambda: canary("host"))
    model: Canary = field(default_factory=lambda: canary("model", "org/canary-{}"))
    prompt: Canary = field(default_factory=lambda: canary("prompt", 'say "canary-{}"\n\u00e9'))
    system: Canary = field(default_factory=lambda: canary("system"))
    session: Canary = field(default_factory=lambda: canary("session"))
    cache_key: Canary = field(default_factory=lambda: canary("cache-key"))
    member: Canary = field(default_factory=lambda: canary("member"))
    forwarded: Canary = field(default_factory=lambda: loopback("forwarded"))
    client: Canary = field(default_factory=lambda: loopback("client"))
    upstream: Canary = field(default_factory=lambda: loopback("upstream"))
    nowhere: Canary = field(default_factory=lambda: loopback("nowhere"))
    note: Canary = field(default_factory=lambda: canary("note"))
    feed_path: Canary = field(default_factory=lambda: canary("feed-path"))
    hash_key: Canary = field(default_factory=lambda: canary("hash-key"))

    @property
    def all(self) -> tuple[Canary, ...]:
        """Return all secrets."""
        return tuple(vars(self).values())

    @property
    def everywhere(self) -> Scanner:
        """Return a scanner for all secrets."""
        return Scanner(self.all, (self.hash_key.text.encode(),))

    @property
    def in_answers(self) -> Scanner:
        """Return a scanner for the secrets that even a relayed response must not contain.

        The platform receives the other secrets and may repeat them.
        """
        known = (self.client, self.forwarded, self.cookie, self.hash_key)
        return Scanner((*known, self.feed_path, self.nowhere))


class Stage:
    """The processes and their output; ``answers`` are kept by their cause.

    Without ``feeds`` the URL of one feed is a closed port, the other a port that never accepts.
    Two other base URLs are such ports, too; with ``named`` one is a port without TLS, the other a
    name without an address.
    """

    def __init__(
        self,
        folder: Path,
        *twistd: str,
        feeds: bool = True,
        named: bool = False,
        **settings: str,
    ) -> None:
        self.secrets = Secrets()
        self.folder = folder / "router"
        self.temporary = self.folder / "tmp"
        self.temporary.mkdir(parents=True)
        self.answers: list[tuple[str, Response]] = []
        self._open = contextlib.ExitStack()
        self.stub = self._stub(folder)
        self.port = free_port()
        self.router = self._router(twistd, feeds, named, settings)

    def _stub(self, folder: Path) -> StubProcess:
        secrets = self.secrets
        options = (*_ONLY_SCENARIOS, "--time-scale=0.01", "--huge-bytes=3000", "--token-delay-ms=0")
        stub = StubProcess("stub", folder, options)
        command = ("-m", "tests.process.secrets.telltale", *stub.arguments[2:])
        listen = ("--listen", f"0.0.0.0:{stub.port}")
        child = Child(
            "platform",
            folder,
            (sys.executable, *command, *listen),
            **{telltale.NOTE: secrets.note.text, telltale.FEED_PATH: f"/{secrets.feed_path.text}"},
        )
        child.start()
        self._open.callback(child.kill)
        until("the platform listens", lambda: self._serves(stub.port))
        return stub

    def _router(
        self, twistd: tuple[str, ...], feeds: bool, named: bool, settings: dict[str, str]
    ) -> Child:
        secrets = self.secrets
        base = f"http://{secrets.upstream.text}:{self.stub.port}"
        hole = self._open.enter_context(black_hole(secrets.nowhere.text))
        closed = f"http://{secrets.nowhere.text}:{free_port()}"
        silent = f"http://{secrets.nowhere.text}:{hole}"
        port = self._open.enter_context(without_tls(secrets.nowhere.text))
        plain = f"https://{secrets.nowhere.text}:{port}"
        nameless = f"http://{secrets.nowhere.text}{UNKNOWN}"
        own = {
            "LISTEN_ADDR": f"{HERE}:{self.port}",
            "ADMIN_LISTEN_ADDR": "-",
            "BACKEND_BASE_URL": base,
            "MESSAGES_BASE_URL": plain if named else closed,
            "RESPONSES_BASE_URL": nameless if named else silent,
            "API_BASE_URL": base if feeds else silent,
            "MODELS_URL": f"{base if feeds else closed}/{secrets.feed_path.text}",
            "UTILIZATION_URL": f"{base if feeds else silent}/chutes/utilization",
            "STICKY_HASH_KEY": secrets.hash_key.text,
            "KEY_METRICS": "true",
            "TRUST_PROXY_HEADERS": "true",
            "TRUSTED_PROXY_CIDRS": "127.0.0.0/8",
            "MAX_REQUEST_BYTES": str(MAX_BODY),
            "MAX_CONCURRENT_REQUESTS": str(MAX_ACTIVE),
            "CLIENT_MAX_SHARE": "1",
            "TMPDIR": str(self.temporary),
        }
        command = (sys.executable, "-m", "tests.process.secrets.mistakes", "--nodaemon", *twistd)
        router = Child("out", self.folder, (*command, "autopilot"), **{**own, **_TIMES, **settings})
        self._open.callback(router.kill)
        return router

    def start(self) -> None:
        """Start the router, and wait until it serves."""
        self.router.start()
        until("the router serves", lambda: self._serves(self.port))

    def _serves(self, port: int) -> bool:
        with contextlib.suppress(ConnectionRefusedError), self.connect(port):
            return True
        return False

    def connect(self, port: int = 0) -> socket.socket:
        """Return a connection from the client's address; the end of the stage closes it."""
        where = (self.secrets.client.text, 0)
        to = (HERE, port or self.port)
        client = socket.create_connection(to, PATIENCE, source_address=where)
        self._open.callback(client.close)
        return client

    def output(self) -> dict[str, bytes]:
        """Return everything the router has written: standard output and error, and all files."""
        files = (path for path in self.folder.rglob("*") if path.is_file())
        return {str(path.relative_to(self.folder)): path.read_bytes() for path in files}

    def log(self) -> bytes:
        """Return the output as text."""
        return b"\n".join(self.output().values())

    def close(self) -> None:
        """Stop the processes that still run."""
        self._open.close()


@contextlib.contextmanager
def black_hole(address: str) -> Iterator[int]:
    """Return a port whose queue is full, so that connection attempts never complete."""
    with socket.socket() as listening, contextlib.ExitStack() as queue:
        listening.bind((address, 0))
        listening.listen(0)
        port = listening.getsockname()[1]
        for _ in range(4):
            waiting = queue.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex((address, port))
        yield port


@contextlib.contextmanager
def without_tls(address: str) -> Iterator[int]:
    """Return a port whose server answers everything with a line of text."""

    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            self.request.recv(65536)
            self.wfile.write(b"220 Hello\r\n")

    with socketserver.ThreadingTCPServer((address, 0), Handler) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_address[1]
        server.shutdown()


def reset(client: socket.socket) -> None:
    """Reset the connection."""
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.close()
