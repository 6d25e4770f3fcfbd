"""When a process shares its state tables, and what it tells others about clients."""

from __future__ import annotations

from typing import Any

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from autopilot import AutopilotService
from autopilot.state.events import encode
from autopilot.state.sharing.hub import Hub, HubCounts
from autopilot.wiring.role import Place
from autopilot.wiring.sharing import hub_of
from tests.unit.relay.upstreams import JSON, whole
from tests.unit.service.platforms import NAMES, ServiceTestCase, settings
from tests.unit.state.sharing.replicas import RecordingLink, connect
from tests.unit.web.browsers import ask, request

STORE: dict[str, Any] = {"state_url": "redis://192.0.2.9:6379", "sticky_hash_key": b"k" * 32}
CANARIES = (b"secret-token", b"secret-session", b"secret question", b"192.0.2.7", b"secret-model")
FIELDS = (
    b"Authorization: Bearer secret-token",
    b"X-Session-Id: secret-session",
    b"X-Session-Affinity: secret-session",
)


class HubOfTests(SynchronousTestCase):
    """Which processes have a hub."""

    def hub(self, place: Place, **given: Any) -> Hub | None:
        """Return the hub of a process, whose links' errors are logged."""
        self.clock = Clock()
        return hub_of(place, settings(**given), self.clock, bool, HubCounts())

    def test_who_shares(self) -> None:
        """A single process without a store has no hub, and so the tables that it always had."""
        self.assertIsNone(self.hub(Place.SINGLE))
        for place, given in ((Place.SINGLE, STORE), (Place.PARENT, {}), (Place.WORKER, {})):
            self.assertIsNotNone(self.hub(place, **given))

    def test_replicas_differ(self) -> None:
        """Each process has a number of its own, and versions that begin after its former life."""
        one, other = self.hub(Place.WORKER), self.hub(Place.WORKER)
        assert one is not None and other is not None
        self.assertNotEqual(one.replica, other.replica)
        self.assertGreater(one.tables.outbox.counter, 1_700_000_000_000)

    def test_malformed_batches_are_logged(self) -> None:
        """They are logged more and more rarely."""
        hub = self.hub(Place.WORKER)
        assert hub is not None
        for _ in range(100):
            hub.received(b"\x91", RecordingLink())
        self.clock.advance(61)
        hub.received(b"\x91", RecordingLink())
        self.assertEqual(hub.facts().refused, 101)


class SharingTests(ServiceTestCase):
    """Whole routers with a hub, but no other link than the test's."""

    def ask(self, port: int, model: str, *statuses: int) -> bytes:
        """Send a request whose attempts have these responses, and return the selected model."""
        browser = self.browser(port)
        said = [{"role": "user", "content": "secret question"}]
        body = ask(model, stream=False, messages=said)
        browser.sends(request(b"/v1/chat/completions", *FIELDS, body=body))
        for status in statuses:
            self.platform.wire.says(whole(status, b"{}", JSON, b"Connection: close"))
            self.reactor.advance(0)
        selected = browser.response.value(b"x-chutes-autopilot-selected")
        browser.leaves()
        return selected or b""

    def hub(self, service: AutopilotService) -> Hub:
        """Return a service's hub."""
        hub = service._parts.hub
        assert hub is not None
        return hub

    def test_nothing_of_a_client(self) -> None:
        """No event contains a token, address, prompt, session id, or a name of the client's."""
        service = self.running(unknown_models="forward", **STORE)
        link = RecordingLink()
        self.hub(service).join(link)
        self.ask(-1, ",".join(NAMES), 503, 200)
        self.ask(-1, "secret-model", 503)
        self.reactor.advance(0.02)
        self.reactor.advance(1)
        self.reactor.advance(0.02)
        told = b"".join(link.batches)
        kinds = {event.kind for event in link.events()}
        self.assertLessEqual({"stuck", "failed", "measured"}, kinds)
        dumped = b"".join(self.hub(service).dump())
        for canary in CANARIES:
            self.assertNotIn(canary, told)
            self.assertNotIn(canary, dumped)
        self.assertIn(NAMES[0].encode(), dumped)
        self.successResultOf(service.stopService())
        self.assert_at_rest()

    def test_two_routers(self) -> None:
        """A conversation that one router served keeps its model on another."""
        one, other = self.running(**STORE), self.running(**STORE)
        connect(self.hub(one), self.hub(other))
        first = self.ask(0, ",".join(NAMES), 503, 200)
        self.reactor.advance(0.02)
        self.assertEqual(first, NAMES[1].encode())
        self.assertEqual(self.ask(1, ",".join(NAMES), 200), first)
        for each in (one, other):
            self.successResultOf(each.stopService())
        self.assert_at_rest()

    def test_metrics(self) -> None:
        """Events are counted by kind and direction."""
        service = self.running(**STORE)
        link = RecordingLink()
        hub = self.hub(service)
        hub.join(link)
        self.ask(-1, ",".join(NAMES), 200)
        self.reactor.advance(0.02)
        hub.received(encode(link.events())[0], link)
        hub.lost(3)
        text = service._parts.metrics.text().decode()
        for line in (
            'state_events_total{direction="sent",kind="stuck"} 1',
            'state_events_total{direction="received",kind="stuck"} 1',
            "state_events_lost_total 3",
            "state_batches_refused_total 0",
        ):
            self.assertIn(f"chutes_autopilot_{line}", text)
        self.successResultOf(service.stopService())
        self.assert_at_rest()
