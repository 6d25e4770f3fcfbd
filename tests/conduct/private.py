"""The router in private mode and the stub, on a virtual network whose every byte is kept."""

from __future__ import annotations

import json
import time
from base64 import b64decode
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from time import struct_time
from typing import Any

from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import load_der_x509_certificate
from twisted.logger import (
    ILogObserver,
    LogEvent,
    LogLevel,
    eventAsJSON,
    eventAsText,
    globalLogPublisher,
)
from twisted.trial.unittest import SynchronousTestCase
from twisted.web import http
from zope.interface import implementer

from stub_backend.log import Received
from stub_backend.sealed.scenarios import SEALED_SCENARIOS
from tests.conduct.network import Network
from tests.conduct.seen import Client, Seen
from tests.conduct.served import CHAT, Served

DATA = Path(__file__).resolve().parents[1] / "data" / "private"
VECTORS: Mapping[str, Any] = json.loads((DATA / "evidence_vectors.json").read_text())
NOW: int = VECTORS["fixed_now"]
"""The time of day of the synthetic world. Its usual collateral ends in 2036."""
MINUTE = 61.0
"""In which the budget of discoveries is whole again."""
KEY = "cpk_a.b.c"
_STUB = {
    "models": 6,
    "scenario_models": False,
    "sealed_models": True,
    "attestation_kit": str(DATA),
}
_A_DAY = 86_400_000
_URL = "http://127.0.0.1"
_INVOKE = "/e2e/invoke"
_DISCOVER = "/e2e/instances/"


def model(scenario: str) -> str:
    """Return the model of a scenario of sealed calls."""
    return SEALED_SCENARIOS[scenario].model


class WatchedNetwork(Network):
    """A network that keeps what the platform received and sent, on all connections."""

    def __init__(self) -> None:
        super().__init__()
        self.up: list[bytes] = []
        self.down: list[bytes] = []
        self._watched = False

    def connectTCP(self, *given: Any, **options: Any) -> None:  # noqa: N802
        """See `Network`: these are the router's connections to the platform."""
        self._watched = True
        super().connectTCP(*given, **options)

    def join(self, client: Any, server: Any) -> None:
        """See `Network`."""
        watched, self._watched = self._watched, False
        if watched:
            _tap(server, self.up)
            _tap(client, self.down)
        super().join(client, server)


def _tap(protocol: Any, kept: list[bytes]) -> None:
    received = protocol.dataReceived

    def receive(data: bytes) -> None:
        kept.append(data)
        received(data)

    protocol.dataReceived = receive


class PrivateServed(Served):
    """A ready router in private mode. ``now`` is the time of day when it starts."""

    def __init__(self, roots: Path, **settings: Any) -> None:
        self.watched = WatchedNetwork()
        given: dict[str, Any] = {
            "tokens": 6,
            "private": "always",
            "private_test_roots": str(roots),
            "private_collateral_url": _URL,
            # Minutes pass in these tests, and their feeds do not change.
            "models_refresh_ms": _A_DAY,
            "utilization_refresh_ms": _A_DAY,
            "evidence_refresh_ms": 0,
        }
        super().__init__(
            network=self.watched,
            url=_URL,
            stub=_STUB,
            **given | settings,
        )

    def post(self, body: bytes, *fields: bytes, key: str = KEY, path: str = CHAT) -> Seen:
        """See `Served`; only a key of the platform's form is accepted."""
        return super().post(body, *fields, key=key, path=path)

    def begin(self, body: bytes, *fields: bytes, key: str = KEY, path: str = CHAT) -> Client:
        """See `post`."""
        return super().begin(body, *fields, key=key, path=path)

    def sealed(self, scenario: str, *script: str) -> str:
        """Give the model of a scenario a script of its next calls, and return its name."""
        name = model(scenario)
        if script:
            self.stub.end_to_end.scripts.write(name, script, scenario)
        return name

    def invokes(self) -> list[Received]:
        """Return the sealed calls that the gateway received."""
        return [each for each in self.stub.log if each.path == _INVOKE]

    def discoveries(self) -> list[Received]:
        """Return the discoveries."""
        return [each for each in self.stub.log if each.path.startswith(_DISCOVER)]

    def plain(self) -> list[Received]:
        """Return what reached the platform beside sealed calls and what private mode asks."""
        return [each for each in self.stub.log if each.method == "POST" and each.path != _INVOKE]


@implementer(ILogObserver)
class Logged:
    """Everything that is logged, as text and as JSON, with the level of each event."""

    def __init__(self) -> None:
        self.events: list[tuple[LogLevel, str]] = []

    def __call__(self, event: LogEvent) -> None:
        """See `ILogObserver`."""
        self.events.append((event["log_level"], eventAsText(event) + eventAsJSON(event)))


class PrivateTestCase(SynchronousTestCase):
    """Tests of a router in private mode, in the synthetic world and at its time."""

    def setUp(self) -> None:
        """Write the roots of the world, which both sides have, and keep what is logged."""
        folder = TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.roots = Path(folder.name, "roots.pem")
        ders = [VECTORS["roots"][f"{each}_root_der_b64"] for each in ("intel_like", "gpu")]
        certificates = [load_der_x509_certificate(b64decode(each)) for each in ders]
        self.roots.write_bytes(b"".join(each.public_bytes(Encoding.PEM) for each in certificates))
        self.logged = Logged()
        globalLogPublisher.addObserver(self.logged)
        self.addCleanup(globalLogPublisher.removeObserver, self.logged)
        self.now = float(NOW)
        self.network: Network | None = None
        self.patch(time, "time", self.time)
        self.platform_ahead = 0.0
        self.patch(http, "gmtime", self._platform_time)

    def time(self) -> float:
        """Return the time of day: that of the world, which the virtual clock moves on."""
        return self.now + (0.0 if self.network is None else self.network.seconds())

    def _platform_time(self, *given: float) -> struct_time:
        """Return the time of the platform's ``Date`` fields."""
        return time.gmtime(*(given or (self.time() + self.platform_ahead,)))

    def serve(self, **settings: Any) -> PrivateServed:
        """Return a router, whose clock is that of the day as well."""
        served = PrivateServed(self.roots, **settings)
        self.network = served.network
        return served
