"""Dependencies: no version with a known vulnerability, and no unnecessary module."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from twisted.internet.protocol import Factory, Protocol
from twisted.internet.testing import StringTransport
from twisted.trial.unittest import SynchronousTestCase

from autopilot.upstream.endpoints import VerifiedEndpoints, trust_root
from autopilot.upstream.pool import Origin
from tests.unit.service.platforms import ServiceTestCase
from tools.locked import pins
from tools.resolve import included

ROOT = Path(__file__).resolve().parent.parent.parent
FLOORS = {"twisted": (26, 10, 0), "pyopenssl": (26, 0, 0)}
"""The first versions without the vulnerabilities that concern this router."""

_NUMBERS = re.compile(r"[0-9]+(?:\.[0-9]+)*")
_IMPORTED = (
    "from autopilot import AutopilotService, Settings; AutopilotService(Settings());"
    "import sys; print(*sys.modules)"
)
_PRIVATE = {
    *(
        f"autopilot.attestation.{each}"
        for each in ("gpu_report", "quote_verification", "sealed_stream", "sealing", "verification")
    ),
    "dcap_qvl",
}
"""What private mode alone may load: its packages need not be installed."""
_RESOLVER = (
    "import autopilot.process.reactor as ours; ours.install(); import autopilot.service.lifecycle;"
    "from twisted.internet import reactor; print(type(reactor.nameResolver).__name__)"
)


def numbers(text: str) -> tuple[int, ...]:
    """Return the numbers of a version."""
    found = _NUMBERS.search(text)
    assert found is not None, text
    return tuple(map(int, found.group().split(".")))


class FloorTests(SynchronousTestCase):
    """Minimum versions."""

    def test_installed(self) -> None:
        """The installed versions are new enough."""
        for name, floor in FLOORS.items():
            self.assertGreaterEqual(numbers(version(name)), floor, name)

    def test_declared(self) -> None:
        """Older versions cannot be installed with the router."""
        project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
        for name, floor in FLOORS.items():
            (line,) = (each for each in project["dependencies"] if each.startswith(name))
            self.assertIn(">=", line)
            self.assertGreaterEqual(numbers(line.partition(">=")[2]), floor, line)

    def test_private_mode(self) -> None:
        """The extra requires a version of cryptography that has ML-KEM and does not refuse it."""
        extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
        (line,) = (
            each
            for each in extras["optional-dependencies"]["private"]
            if each.startswith("cryptography")
        )
        self.assertGreaterEqual(numbers(line.partition(">=")[2]), (48, 0, 0))
        names = {each.name for each in pins(ROOT / "locks" / "runtime.txt")}
        self.assertNotIn("dcap-qvl", names)
        self.assertIn("\ndcap-qvl==", (ROOT / "locks" / "private.txt").read_text())

    def test_locked(self) -> None:
        """The locks pin no older version, and everything in them has a hash."""
        for lock in ("runtime", "private", "development"):
            text = "\n".join(included(lock))
            for name, floor in FLOORS.items():
                pinned = re.search(rf"(?m)^{name}(?:\[[a-z,]+\])?==(\S+)", text)
                assert pinned is not None, (lock, name)
                self.assertGreaterEqual(numbers(pinned.group(1)), floor, lock)
            self.assertGreaterEqual(text.count("--hash="), len(re.findall(r"(?m)^\S+==", text)))


class NotUsedTests(SynchronousTestCase):
    """Code that is not loaded cannot be attacked."""

    def test_no_http_2(self) -> None:
        """Without these modules, Twisted's sites do not support HTTP/2."""
        for name in ("h2", "priority"):
            self.assertRaises(PackageNotFoundError, version, name)

    def test_nothing_runs_at_startup(self) -> None:
        """No installed file runs automatically at the start of Python."""
        shipped = [
            path.name for part in ("autopilot", "twisted") for path in (ROOT / part).rglob("*")
        ]
        self.assertIn("autopilot_plugin.py", shipped)
        self.assertEqual([name for name in shipped if name.endswith(".pth")], [])
        self.assertFalse({"sitecustomize.py", "usercustomize.py"} & set(shipped))

    def test_modules(self) -> None:
        """The router loads no resolver, proxy, template engine or second HTTP client."""
        run = (sys.executable, "-c", _IMPORTED)
        done = subprocess.run(run, cwd=ROOT, capture_output=True, check=True, text=True)
        loaded = set(done.stdout.split())
        self.assertIn("autopilot.relay.proxy", loaded)
        unwanted = {"twisted.names", "twisted.web.proxy", "twisted.web.static", "jinja2", "h2"}
        self.assertEqual(loaded & (unwanted | {"orjson", "requests", "aiohttp", "urllib3"}), set())
        self.assertEqual(loaded & _PRIVATE, set())

    def test_resolver(self) -> None:
        """The system resolves names, not Twisted's resolver."""
        run = (sys.executable, "-c", _RESOLVER)
        done = subprocess.run(run, cwd=ROOT, capture_output=True, check=True, text=True)
        self.assertEqual(done.stdout.strip(), "GAIResolver")


class HelloTests(ServiceTestCase):
    """The TLS parameters that the router offers to upstreams."""

    def test_only_http_1(self) -> None:
        """ALPN offers HTTP/1.1 only, for calls and feeds alike."""
        endpoints = VerifiedEndpoints(self.reactor, trust_root(None))
        endpoints(Origin("https", "llm.test", 443)).connect(Factory.forProtocol(Protocol))
        (_host, _port, wrapping, _timeout, _bind) = self.reactor.tcpClients[0]
        wire: Any = StringTransport()
        protocol: Any = wrapping.buildProtocol(None)
        protocol.makeConnection(wire)
        hello = wire.value()
        self.assertEqual(hello[:1], b"\x16")
        # The whole extension: type, length, length of the list, and the list.
        self.assertIn(b"\x00\x10\x00\x0b\x00\x09\x08http/1.1", hello)
        self.assertNotIn(b"\x02h2", hello)
        protocol.connectionLost(None)
