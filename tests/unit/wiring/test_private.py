"""Tests of private mode as it is wired: a platform of the synthetic world, reached in memory."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

from treq.testing import RequestTraversalAgent
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.logger import capturedLogs, formatEvent
from twisted.trial.unittest import SynchronousTestCase

from autopilot.attestation import judging
from autopilot.attestation.measurements import pin_file
from autopilot.attestation.private_instances import Attested, Cause, UnavailableError
from autopilot.attestation.verdict import Refusal
from autopilot.observability.private_counts import PrivateCounts
from autopilot.routing.catalog import Catalog, Model
from autopilot.settings import Settings
from autopilot.settings.files.pins import PinsSetting
from autopilot.wiring.private import (
    PrivateParts,
    private_exchanges,
    private_instruments,
    private_parts,
    shown,
    unattestable,
)
from tests.unit.attestation import world
from tests.unit.attestation.platform import CHUTE, INSTANCES, MODEL, Answer, Platform

BASE = "http://127.0.0.1:9"
CATALOG = Catalog.of([Model(MODEL, CHUTE, True), Model("vendor/plain", "other", False)])


class PrivateWiringTests(SynchronousTestCase):
    """Instances over the platform's answers."""

    def setUp(self) -> None:
        """Make a platform at the world's time."""
        self.folder = Path(self.mktemp())
        self.folder.mkdir()
        (self.folder / "roots.pem").write_bytes(world.roots_pem())
        self.clock = Clock()
        self.platform = Platform()
        self.agent = RequestTraversalAgent(self.platform)
        self.counts = PrivateCounts()
        self.patch(time, "time", lambda: world.NOW + self.clock.seconds())

    def settings(self, **more: Any) -> Settings:
        """Return settings with private mode."""
        given = {
            "private": "always",
            "api_base_url": BASE,
            "private_collateral_url": f"{BASE}/intel",
            "private_test_roots": str(self.folder / "roots.pem"),
            "private_envelope": "accept-missing",
        }
        return Settings(**given | more)

    def made(self, **more: Any) -> PrivateParts:
        """Return the parts, which are started."""
        parts = private_parts(
            self.settings(**more), self.clock, self.agent, lambda: CATALOG, self.counts
        )
        assert parts is not None
        parts.instances.start()
        self.addCleanup(parts.instances.stop)
        self.turns()
        return parts

    def turns(self) -> None:
        """Let everything happen that needs no time to pass."""
        for _ in range(24):
            self.agent.flush()
            self.clock.advance(0)

    def acquire(self, parts: PrivateParts) -> Attested:
        """Return an instance for a request."""
        waiting = parts.instances.acquire(CHUTE, b"client", "Bearer cpk_canary", (), None)
        self.turns()
        return self.successResultOf(waiting)

    def refused(self, parts: PrivateParts) -> UnavailableError:
        """Return why a request gets none."""
        waiting = parts.instances.acquire(CHUTE, b"client", "Bearer cpk_canary", (), None)
        self.turns()
        error = self.failureResultOf(waiting, UnavailableError).value
        assert isinstance(error, UnavailableError)
        return error

    def counted(self, name: str) -> dict[tuple[str, ...], float]:
        """Return what a counter has counted, without zeros."""
        found: Any = next(each for each in self.counts.instruments() if each.name.endswith(name))
        return {labels: value for labels, value in found.values.items() if value}

    def test_attested(self) -> None:
        """A request gets an instance, verified with its own key; other fetches have none."""
        parts = self.made()
        attested = self.acquire(parts)
        self.assertIn(attested.instance_id, INSTANCES.values())
        self.assertEqual((attested.word, attested.verified.tcb), ("test-roots", "UpToDate"))
        keys = dict(zip(self.platform.log, self.platform.keys, strict=True))
        for path, key in keys.items():
            own = path.startswith(("/e2e/", "/instances/"))
            self.assertEqual(key, "Bearer cpk_canary" if own else None, path)
        self.assertEqual(self.counted("discoveries_total"), {("found",): 1})
        self.assertEqual(self.counted("attestations_total"), {("verified",): 2})

    def test_refused(self) -> None:
        """Evidence for another nonce is refused, and so is what cannot be read."""
        parts = self.made()

        def forged(name: str, nonce: str) -> Answer:
            return self.platform.genuine(name, "5a" * 32) if name == "A" else (200, b"{}", {})

        self.platform.evidence = forged
        error = self.refused(parts)
        self.assertEqual(set(error.found), {Refusal.BINDING_KEY, Refusal.QUOTE_MALFORMED})
        self.assertEqual(
            self.counted("attestations_total"), {("binding_key",): 1, ("quote_malformed",): 1}
        )

    def test_collateral_ends(self) -> None:
        """When Intel's data ends, what was verified by it counts no more."""
        parts = self.made()
        self.acquire(parts)
        self.clock.pump([15.0] * 4)
        end = 1782864000 - world.NOW
        self.patch(time, "time", lambda: world.NOW + end)
        parts = self.made()
        self.platform.answers[f"/e2e/instances/{CHUTE}"] = _renewed(self.platform)
        self.assertIs(self.refused(parts).refusal, Refusal.COLLATERAL)

    def test_slow_collateral(self) -> None:
        """A question does not wait for Intel's data for longer than a request waits."""
        parts = self.made()
        ask, held = self.agent.request, list[Deferred[Any]]()

        def request(method: bytes, url: bytes, *more: Any, **rest: Any) -> Any:
            if b"/intel/" in url:
                held.append(Deferred())
                return held[-1]
            return ask(method, url, *more, **rest)

        self.patch(self.agent, "request", request)
        waiting = parts.instances.acquire(CHUTE, b"client", "Bearer cpk_canary", (), None)
        self.turns()
        self.assertNoResult(waiting)
        self.assertEqual(len(held), 1)
        self.clock.advance(20)
        self.turns()
        error = self.failureResultOf(waiting, UnavailableError).value
        assert isinstance(error, UnavailableError)
        self.assertIs(error.refusal, Refusal.COLLATERAL)

    def test_unknown_registers(self) -> None:
        """Registers that the operator's file lacks are shown."""
        other = world.rows()[1:]
        pins = self.folder / "pins.json"
        pins.write_bytes(pin_file(other))
        parts = self.made(private_measurements=_pins(pins))
        self.assertIs(self.refused(parts).refusal, Refusal.MEASUREMENT_UNKNOWN)
        missing = parts.instances.report().measurements.missing
        self.assertEqual(len(missing), 1)
        self.assertIn("RTMR", missing[0])
        self.assertNotIn("/servers/tee/measurements", self.platform.log)

    def test_reload(self) -> None:
        """With other rows, what was verified by the former ones counts no more."""
        parts = self.made()
        self.acquire(parts)
        parts.configure(self.settings())
        self.assertEqual(parts.instances.standing(b"client").ready, {CHUTE})
        pins = self.folder / "pins.json"
        pins.write_bytes(pin_file(world.rows()[1:]))
        parts.configure(self.settings(private_measurements=_pins(pins)))
        self.assertEqual(parts.instances.standing(b"client").ready, frozenset())
        self.assertIs(self.refused(parts).refusal, Refusal.MEASUREMENT_UNKNOWN)

    def test_key(self) -> None:
        """A key that cannot be sent is not sent."""
        parts = self.made()
        waiting = parts.instances.acquire(CHUTE, b"client", "Bearer \u00e9", (), None)
        error = self.failureResultOf(waiting, UnavailableError).value
        assert isinstance(error, UnavailableError)
        self.assertEqual((error.cause, error.status), (Cause.UNAUTHORIZED, 401))

    def test_shown(self) -> None:
        """The page and the metrics have the model's name, its keys, and when the data ends."""
        parts = self.made()
        self.acquire(parts)
        settings = self.settings()
        page = shown(settings, parts, CATALOG)
        assert page is not None
        self.assertEqual(page.models[MODEL].verified, 2)
        self.assertEqual((page.roots, page.collateral_ends_in), ("test-roots", 30 * 86_400))
        self.assertIsNone(unattestable(settings, parts))
        gauges: Any = private_instruments(parts, self.counts)[-2:]
        keys, ends = (gauge.samples() for gauge in gauges)
        self.assertIn(({"state": "verified"}, 2), keys)
        self.assertEqual(ends, [({}, 30 * 86_400)])

    def test_off(self) -> None:
        """Without private mode there is nothing, and nothing is shown."""
        settings = self.settings(private="off")
        parts = private_parts(settings, self.clock, self.agent, lambda: CATALOG, self.counts)
        self.assertIsNone(parts)
        self.assertEqual(private_instruments(parts, self.counts), ())
        self.assertIsNone(private_exchanges(parts, settings, self.clock, self.counts))
        self.assertIsNone(shown(settings, parts, CATALOG))
        self.assertIsNone(unattestable(settings, parts))

    def test_exchanges(self) -> None:
        """Sealed calls go to the platform's interface, and to nothing else."""
        parts, settings = self.made(), self.settings()
        exchanges = private_exchanges(parts, settings, self.clock, self.counts)
        assert exchanges is not None
        self.assertEqual(exchanges.host, "127.0.0.1")
        target = exchanges._path.target
        self.assertEqual((target.start, target.origin.port), (b"POST /e2e/invoke", 9))

    def test_readiness(self) -> None:
        """Only where every request has to be private does it matter that nothing is attestable."""
        self.platform.answers["/servers/tee/measurements"] = 500, b"", {}
        parts = self.made()
        words = "the platform's measurements could not be fetched"
        self.assertEqual(unattestable(self.settings(), parts), words)
        self.assertIsNone(unattestable(self.settings(private="ask"), parts))
        self.assertIs(self.refused(parts).cause, Cause.NOT_READY)

    def test_no_library(self) -> None:
        """Without its packages the router starts, says so in a line, and refuses requests."""

        def fails() -> None:
            raise ImportError("canary")

        self.patch(judging, "check_library", fails)
        with capturedLogs() as logs:
            parts = self.made()
        self.assertEqual(len(logs), 1)
        self.assertIn("pip install 'chutes-autopilot[private]'", formatEvent(logs[0]))
        self.assertIs(self.refused(parts).cause, Cause.LIBRARY)
        self.assertEqual(self.platform.log, [])
        self.assertIsNone(private_exchanges(parts, self.settings(), self.clock, self.counts))
        parts.configure(self.settings())
        self.assertIn("packages", unattestable(self.settings(), parts) or "")


def _renewed(platform: Platform) -> Answer:
    """Return the platform's discovery, with nonces that were not seen before."""
    found = platform.discovery()
    for each in found["instances"]:
        each["nonces"] = [f"later-{each['instance_id'][:2]}-{place}" for place in range(2)]
    return 200, json.dumps(found).encode(), {}


def _pins(path: Path) -> Any:
    return PinsSetting().parse(str(path))
