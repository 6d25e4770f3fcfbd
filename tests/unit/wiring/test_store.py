"""Which process connects to the store, how, and how it leaves."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

from twisted.internet.testing import MemoryReactorClock, StringTransport
from twisted.logger import formatEvent
from twisted.trial.unittest import SynchronousTestCase

from autopilot.state.sharing.hub import HubCounts
from autopilot.upstream.endpoints import trust_root
from autopilot.wiring.role import Place
from autopilot.wiring.sharing import hub_of
from autopilot.wiring.store import SharedStore, shared_store
from tests.unit.service.platforms import ServiceTestCase, settings

HOST, PORT = "192.0.2.9", 6390
STORE: dict[str, Any] = {
    "state_url": f"redis://me:hunter2@{HOST}:{PORT}/3?prefix=mine",
    "sticky_hash_key": b"k" * 32,
}
_IMPORTED = """
import sys
from autopilot import AutopilotService, Settings
AutopilotService(Settings(), listen=False)
print("hiredis" in sys.modules)
"""


class Transport(StringTransport):
    """A transport with the option of TCP."""

    def setTcpNoDelay(self, enabled: bool) -> None:
        """See `ITCPTransport`."""


class SharedStoreTests(SynchronousTestCase):
    """One store in memory."""

    def store(self, place: Place, **given: Any) -> SharedStore | None:
        """Return the store of a process."""
        self.reactor: Any = MemoryReactorClock()
        used = settings(**given)
        hub = hub_of(place, used, self.reactor, bool, HubCounts())
        return shared_store(place, used, self.reactor, self.reactor, trust_root(None), hub)

    def test_who_connects(self) -> None:
        """A single process and a parent do if there is a URL; a worker has its parent."""
        self.assertIsNone(self.store(Place.SINGLE))
        self.assertIsNone(self.store(Place.PARENT))
        self.assertIsNone(self.store(Place.WORKER, **STORE))
        for place in (Place.SINGLE, Place.PARENT):
            store = self.store(place, **STORE)
            assert store is not None
            self.assertEqual(store.store.key(b"x"), b"mine:x")
            self.assertEqual([each.state for each in store.status()[:1]], ["down"])

    def test_plain(self) -> None:
        """Without TLS the first bytes are those of the introduction."""
        store = self.store(Place.SINGLE, **STORE)
        assert store is not None
        store.start()
        self.assertEqual(store.hub.links, [store.link])
        self.assertEqual([each[:2] for each in self.reactor.tcpClients], [(HOST, PORT)] * 2)
        store.stop()
        self.assertEqual(store.hub.links, [])

    def test_tls(self) -> None:
        """With rediss:// the first bytes are a handshake, and without a protocol of HTTP."""
        store = self.store(
            Place.SINGLE, **(STORE | {"state_url": f"rediss://:hunter2@{HOST}:{PORT}"})
        )
        assert store is not None
        store.start()
        protocol = self.reactor.tcpClients[0][2].buildProtocol(None)
        transport = Transport()
        protocol.makeConnection(transport)
        hello = transport.value()
        self.assertEqual(hello[:1], b"\x16")  # TLSPlaintext of type handshake
        self.assertNotIn(b"http/1.1", hello)
        self.assertNotIn(b"hunter2", hello)
        store.stop()

    def test_nothing_is_imported_without_a_store(self) -> None:
        """A router without a store does not load the reader of its replies."""
        done = subprocess.run(
            (sys.executable, "-c", _IMPORTED), capture_output=True, check=True, text=True
        )
        self.assertEqual(done.stdout.strip(), "False")


class StoreOfAServiceTests(ServiceTestCase):
    """A whole router whose store never answers."""

    def test_a_router_without_an_answer(self) -> None:
        """It is ready, serves its pages, says what is wrong, and stops at once."""
        observed = self.observed()
        service = self.running(**STORE)
        self.reactor.advance(3)
        text = service._parts.metrics.text().decode()
        self.assertIn('chutes_autopilot_store_up{connection="commands"} 0.0', text)
        self.assertIn("chutes_autopilot_store_queue_events 0.0", text)
        self.assertTrue(service._parts.readiness().code is None)
        logged = [formatEvent(each) for each in observed]
        shown = f"{text}{service._parts.status()}{service.settings}{logged}"
        self.assertIn("STATE_URL: the store", shown)
        self.assertNotIn("hunter2", shown)
        stopped = service.stopService()
        self.reactor.advance(1)
        self.successResultOf(stopped)
        self.reactor.advance(0)
        self.assert_at_rest()
