"""The proxies: the router and its peers, each configured for event streams.

All have one core, the same upstream, a log line per request in a file, and keep-alive connections
on both sides. Nothing else is tuned.
"""

from __future__ import annotations

import os
import resource
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from autopilot.process.board import Board
from benchmarks.accounting import cpu_seconds, memory, session_members
from benchmarks.processes import HOST, PROJECT, Child, answers, free_port
from benchmarks.sealed import write_roots

AUTOPILOT: Final = "autopilot"
BEFORE: Final = "before"
"""The router of another checkout, as a rule an earlier version."""
NGINX: Final = "nginx"
CADDY: Final = "caddy"
LITELLM: Final = "litellm"
WORKERS: Final = {2: "2-workers", 4: "4-workers"}
"""The router with so many workers, all of them on the one core."""
DIRECT: Final = "direct"
"""No proxy: the load connects to the upstream."""
PRIVATE: Final = "private"
"""The router in private mode."""

LITELLM_BIN: Final = PROJECT / ".venv-litellm" / "bin"
_PEERS = PROJECT / "benchmarks" / "peers"
_CATALOG = "/v1/models"


@dataclass(frozen=True, slots=True)
class Upstream:
    """The upstream of the proxies; it uses TLS if `ca_file` is set."""

    port: int
    ca_file: Path | None = None

    @property
    def scheme(self) -> str:
        """The scheme of URLs."""
        return "http" if self.ca_file is None else "https"

    @property
    def url(self) -> str:
        """The base URL."""
        return f"{self.scheme}://{HOST}:{self.port}"


@dataclass(frozen=True, slots=True)
class Place:
    """The folder, port and upstream of one proxy."""

    folder: Path
    port: int
    upstream: Upstream


@dataclass(frozen=True, slots=True)
class Launch:
    """The command of a proxy, and the page that returns 200 once it serves.

    A page is answered by the first of several workers; the others are waited for, too.
    """

    command: tuple[str, ...]
    ready: str
    environment: dict[str, str] = field(default_factory=dict)
    patience: float = 60.0
    workers: int = 1


class Running:
    """A running proxy."""

    def __init__(self, child: Child, port: int) -> None:
        self.port = port
        self._child = child
        self._pids = session_members(child.pid)

    def pids(self) -> list[int]:
        """Return its processes, as of when it was ready."""
        return self._pids

    def serving(self) -> list[int]:
        """Return the processes that serve: the workers, or the only one."""
        return [pid for pid in self._pids if pid != self._child.pid] or self._pids

    def cpu(self) -> float:
        """Return its processor time so far, in seconds."""
        return cpu_seconds(self._pids)

    def rss(self) -> int:
        """Return its memory in bytes."""
        return memory(self._pids)

    def peak(self) -> int:
        """Return its peak memory in bytes."""
        return memory(self._pids, "VmHWM")

    def stop(self) -> None:
        """End it."""
        self._child.kill()


@dataclass(frozen=True, slots=True)
class Proxy:
    """One of the proxies."""

    name: str
    program: Path | str
    prepare: Callable[[Place], Launch]

    @property
    def missing(self) -> str | None:
        """Why it cannot run here, or None."""
        if shutil.which(self.program) is None:
            return f"{self.name} is not installed here ({self.program} was not found)"
        return None

    def start(self, upstream: Upstream, folder: Path, core: int) -> Running:
        """Start it and wait until it serves. Raises `ProcessError`."""
        place = Place(folder, free_port(), upstream)
        launch = self.prepare(place)
        child = Child(
            self.name, launch.command, core=core, folder=folder, environment=launch.environment
        )
        try:
            child.wait_until(lambda: answers(place.port, launch.ready), launch.patience)
            if launch.workers > 1:
                child.wait_until(
                    lambda: (
                        answers(place.port, launch.ready) and serving(child.pid) >= launch.workers
                    ),
                    launch.patience,
                )
        except BaseException:
            child.kill()
            raise
        return Running(child, place.port)


def serving(parent: int) -> int:
    """Return how many workers of a router have received a connection."""
    for each in Path(f"/proc/{parent}/fd").iterdir():
        if "autopilot-board" in os.readlink(each):
            board = Board.open(os.open(each, os.O_RDWR))
            received = [board.slot(index).received for index in range(len(board))]
            board.close()
            return sum(map(bool, received))
    return 0


def _twistd() -> Path:
    return Path(sys.executable).parent / "twistd"


def private_settings(upstream: Upstream, folder: Path) -> dict[str, str]:
    """Return the settings of private mode, in the synthetic world of the upstream."""
    return {
        "PRIVATE": "always",
        "API_BASE_URL": upstream.url,
        "PRIVATE_COLLATERAL_URL": upstream.url,
        "PRIVATE_TEST_ROOTS": str(write_roots(folder)),
    }


def _autopilot(
    place: Place,
    twistd: Path,
    reactor: str | None = None,
    workers: int = 1,
    *,
    private: bool = False,
) -> Launch:
    base = place.upstream.url
    environment = {
        "LISTEN_ADDR": f"{HOST}:{place.port}",
        "BACKEND_BASE_URL": base,
        "MESSAGES_BASE_URL": base,
        "RESPONSES_BASE_URL": base,
        "MODELS_URL": f"{base}/v1/models",
        "UTILIZATION_URL": f"{base}/chutes/utilization",
        "EVIDENCE_REFRESH_MS": "0",
        "MAX_CONCURRENT_REQUESTS": "100000",
        "CLIENT_MAX_SHARE": "1",
    }
    if private:
        environment |= private_settings(place.upstream, place.folder)
    if workers > 1:
        environment["WORKERS"] = str(workers)
    if place.upstream.ca_file is not None:
        environment["UPSTREAM_CA_FILE"] = str(place.upstream.ca_file)
    chosen = (f"--reactor={reactor}",) if reactor else ()
    command = (str(twistd), "--nodaemon", "--pidfile=", *chosen, "autopilot")
    return Launch(command, "/readyz", environment, workers=workers)


def _nginx(place: Place) -> Launch:
    tls = (
        f"proxy_ssl_trusted_certificate {place.upstream.ca_file}; proxy_ssl_verify on;"
        " proxy_ssl_name localhost; proxy_ssl_server_name on;"
    )
    config = _fill("nginx.conf", place, tls)
    command = ("nginx", "-c", str(config), "-p", str(place.folder), "-e", "stderr")
    return Launch(command, _CATALOG)


def _caddy(place: Place) -> Launch:
    tls = (
        f"tls\n\t\t\ttls_trusted_ca_certs {place.upstream.ca_file}\n\t\t\ttls_server_name localhost"
    )
    config = _fill("Caddyfile", place, tls)
    command = ("caddy", "run", "--config", str(config), "--adapter", "caddyfile")
    return Launch(command, _CATALOG, {"GOMAXPROCS": "1"})


def _litellm(place: Place) -> Launch:
    config = _fill("litellm.yaml", place, "")
    environment = {
        "LITELLM_LOCAL_MODEL_COST_MAP": "True",  # or it fetches prices while it starts
        "LITELLM_TELEMETRY": "False",
        "LITELLM_LOG": "ERROR",
        "LITELLM_DANGEROUSLY_PERMIT_WEAK_OR_UNSET_MASTER_KEY": "true",  # no keys to look up
        "PYTHONPATH": "",
    }
    if place.upstream.ca_file is not None:
        environment["SSL_CERT_FILE"] = str(place.upstream.ca_file)
    own = ("--host", HOST, "--port", str(place.port), "--num_workers", "1")
    command = (str(LITELLM_BIN / "litellm"), "--config", str(config), *own)
    return Launch(command, "/health/liveliness", environment, patience=120.0)


def _fill(template: str, place: Place, tls: str) -> Path:
    """Write a peer's configuration from its template to its folder."""
    text = (_PEERS / template).read_text()
    values = {
        "HOST": HOST,
        "PORT": str(place.port),
        "FOLDER": str(place.folder),
        "SCHEME": place.upstream.scheme,
        "UPSTREAM": f"{HOST}:{place.upstream.port}",
        "TLS": tls if place.upstream.ca_file else "",
        "FILES": str(resource.getrlimit(resource.RLIMIT_NOFILE)[1]),
        # Workers of nginx under root would run as a user without write access to the folder.
        "USER": "user root;" if os.geteuid() == 0 else "",
    }
    for name, value in values.items():
        text = text.replace(f"@{name}@", value)
    written = place.folder / template
    written.write_text(text)
    return written


def _with_workers(count: int, twistd: Path, reactor: str | None) -> Proxy:
    return Proxy(WORKERS[count], twistd, lambda place: _autopilot(place, twistd, reactor, count))


def proxies(reactor: str | None = None, before: Path | None = None) -> dict[str, Proxy]:
    """Return all proxies by name, the router with this reactor if one is given.

    ``before`` is another checkout, whose router runs in the environment of its `make venv`.
    """
    own = _twistd()
    known = [
        Proxy(AUTOPILOT, own, lambda place: _autopilot(place, own, reactor)),
        Proxy(PRIVATE, own, lambda place: _autopilot(place, own, reactor, private=True)),
        Proxy(NGINX, "nginx", _nginx),
        Proxy(CADDY, "caddy", _caddy),
        Proxy(LITELLM, LITELLM_BIN / "litellm", _litellm),
    ]
    known += [_with_workers(count, own, reactor) for count in WORKERS]
    if before is not None:
        other = before / ".venv" / "bin" / "twistd"
        known.append(Proxy(BEFORE, other, lambda place: _autopilot(place, other, reactor)))
    return {each.name: each for each in known}
