"""The Redis server and HAProxy as child processes."""

from __future__ import annotations

import shutil
import signal
import socket
from collections.abc import Sequence
from pathlib import Path
from unittest import SkipTest

from tests.rigs.smoke.client import HOST
from tests.rigs.smoke.processes import Child, free_port
from tests.rigs.smoke.waiting import LIMIT

_HAPROXY = """
global
    maxconn 4000
defaults
    mode http
    # A request that was sent is not sent again; one that could not be is, to another router.
    option redispatch
    retries 2
    retry-on conn-failure
    timeout connect 2s
    timeout client 920s
    timeout server 920s
frontend clients
    bind {host}:{port}
    default_backend routers
backend routers
    balance roundrobin
{servers}
"""


def program(*names: str) -> str:
    """Return the first of these programs that is installed."""
    for name in names:
        if found := shutil.which(name) or shutil.which(name, path="/usr/sbin"):
            return found
    raise SkipTest(f"{names[0]} is not installed; `make system` installs it as root on Debian")


class StoreProcess(Child):
    """A Redis or Valkey server that keeps nothing on disk, with further ``options``.

    With ``tls`` it speaks TLS on its port.
    """

    def __init__(self, folder: Path, *options: str, tls: bool = False) -> None:
        self.port = free_port()
        port = ("--port", "0", "--tls-port") if tls else ("--port",)
        usual = ("--bind", HOST, "--save", "", "--appendonly", "no", "--dir", str(folder))
        command = (program("redis-server", "valkey-server"), *port, str(self.port), *usual)
        super().__init__("store", folder, (*command, *options))

    @property
    def url(self) -> str:
        """The value of `STATE_URL`."""
        return f"redis://{HOST}:{self.port}"

    def start(self) -> None:
        """Start the server, and wait until it listens."""
        super().start()
        self.wait_listening(self.port)

    def tell(self, *words: str) -> bytes:
        """Send a command; return the first piece of the answer."""
        lines = "".join(f"${len(word)}\r\n{word}\r\n" for word in words)
        with socket.create_connection((HOST, self.port), LIMIT) as client:
            client.sendall(f"*{len(words)}\r\n{lines}".encode())
            return client.recv(65_536)

    def clients(self) -> list[bytes]:
        """Return a line for each connection, but for those that asked such questions."""
        lines = self.tell("CLIENT", "LIST").splitlines()
        return [line for line in lines if b" addr=" in line and b" cmd=client|" not in line]

    def pause(self, seconds: float) -> None:
        """Answer no client for some seconds."""
        self.tell("CLIENT", "PAUSE", f"{seconds * 1000:.0f}", "ALL")

    def fill(self) -> None:
        """Refuse each write for want of memory."""
        self.tell("CONFIG", "SET", "maxmemory", "1")

    def empty(self) -> None:
        """Accept writes again."""
        self.tell("CONFIG", "SET", "maxmemory", "0")

    def follow(self) -> None:
        """Become a replica, which refuses writes, of a server that does not exist."""
        self.tell("REPLICAOF", HOST, "1")

    def lead(self) -> None:
        """Be a replica no longer."""
        self.tell("REPLICAOF", "NO", "ONE")


class BalancerProcess(Child):
    """HAProxy, which gives each request to the next router."""

    def __init__(self, folder: Path, routers: Sequence[int]) -> None:
        self.port = free_port()
        servers = "\n".join(f"    server router{port} {HOST}:{port}" for port in routers)
        file = folder / "haproxy.cfg"
        file.write_text(_HAPROXY.format(host=HOST, port=self.port, servers=servers))
        super().__init__("haproxy", folder, (program("haproxy"), "-db", "-f", str(file)))

    def start(self) -> None:
        """Start HAProxy, and wait until it listens."""
        super().start()
        self.wait_listening(self.port)

    def stop(self) -> None:
        """End it with its streams."""
        self.signal(signal.SIGTERM)
        self.kill()
