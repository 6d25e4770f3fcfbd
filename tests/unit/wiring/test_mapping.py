"""Tests that each live setting takes effect without a restart."""

from __future__ import annotations

from ipaddress import ip_network
from math import inf
from pathlib import Path

import trustme
from twisted.trial.unittest import SynchronousTestCase

from autopilot.attestation.measurements import parse_published
from autopilot.attestation.private_config import PrivateConfig
from autopilot.attestation.verdict import GpuChecks
from autopilot.http.dialect import Dialect
from autopilot.routing.private_mode import PrivateMode
from autopilot.settings import DECLARED, Settings
from autopilot.state.edge_account import EdgeConfig
from autopilot.wiring import mapping
from tests.unit.relay.upstreams import SSE, TOKEN, chunk, head, whole
from tests.unit.wiring import (
    test_mapping_fallbacks,
    test_mapping_keys,
    test_mapping_logs,
    test_mapping_private,
    test_mapping_routing,
    test_mapping_times,
    test_mapping_web,
)
from tests.unit.wiring.cases import ReloadTestCase

DATA = Path(__file__).parents[2] / "data"
_SUITES = (
    test_mapping_fallbacks,
    test_mapping_keys,
    test_mapping_logs,
    test_mapping_private,
    test_mapping_routing,
    test_mapping_times,
    test_mapping_web,
)


class CompletenessTests(SynchronousTestCase):
    """The live settings of the schema, and their tests."""

    def test_every_live_setting_has_a_test(self) -> None:
        """Each live setting has a test of its name, and no other setting has one."""
        tested = [
            name.removeprefix("test_")
            for suite in _SUITES
            for case in vars(suite).values()
            if isinstance(case, type) and issubclass(case, SynchronousTestCase)
            if case.__module__ == suite.__name__
            for name in vars(case)
            if name.startswith("test_")
        ]
        self.assertEqual(sorted(tested), sorted(each.field for each in DECLARED if each.live))


class PrivateTests(SynchronousTestCase):
    """What private mode accepts, and where its data comes from."""

    def test_defaults(self) -> None:
        """By default only what is up to date, published, signed and enveloped is accepted."""
        self.assertEqual(
            mapping.private(Settings()),
            PrivateConfig(
                tcb=frozenset({"UpToDate"}),
                grace_days=0,
                pinned=None,
                gpu_checks=GpuChecks.SIGNED,
                envelope_required=True,
                verdict_ttl=900,
                attest_timeout=20,
                api_url="https://api.chutes.ai",
                collateral_url="https://api.trustedservices.intel.com",
                collateral_folder=None,
                test_roots=None,
            ),
        )

    def test_all(self) -> None:
        """Each setting has its place, and the rows are those that the platform's list has."""
        seen = DATA / "private" / "measurements_seen.json"
        roots = self.mktemp()
        trustme.CA().cert_pem.write_to_path(roots)
        trustme.CA().cert_pem.write_to_path(roots, append=True)
        config = mapping.private(
            Settings(
                private_tcb=("UpToDate", "SWHardeningNeeded"),
                private_tcb_grace_days=7,
                private_measurements=str(seen),
                private_gpu="off",
                private_envelope="accept-missing",
                private_attest_ttl_ms=1500,
                private_attest_timeout_ms=2500,
                api_base_url="http://127.0.0.1:1",
                private_collateral_url="http://127.0.0.1:2",
                private_collateral_dir=".",
                private_test_roots=roots,
            )
        )
        self.assertEqual(config.pinned, parse_published(seen.read_bytes()))
        self.assertEqual(config.tcb, {"UpToDate", "SWHardeningNeeded"})
        self.assertEqual((config.grace_days, config.gpu_checks), (7, GpuChecks.OFF))
        self.assertEqual((config.verdict_ttl, config.attest_timeout), (1.5, 2.5))
        self.assertEqual(config.api_url, "http://127.0.0.1:1")
        self.assertEqual(config.collateral_url, "http://127.0.0.1:2")
        self.assertEqual((config.collateral_folder, config.envelope_required), (".", False))
        self.assertEqual(config.test_roots, Path(roots).read_bytes())
        self.assertNotIn("BEGIN", repr(config))

    def test_mode(self) -> None:
        """The mode reaches the parser of requests, and what bounds attempts the relay."""
        for mode in PrivateMode:
            self.assertIs(mapping.parsing(Settings(private=mode.value)).private, mode)
        config = mapping.relay(Settings(private_attest_timeout_ms=1500))
        self.assertEqual(config.attest_timeout, 1.5)

    def test_names(self) -> None:
        """The alias of private mode is listed where there is private mode."""
        names = {
            mode: mapping.own_names(Settings(private=mode)) for mode in ("off", "ask", "always")
        }
        self.assertEqual(names["off"], ("chutesai/AutoPilot",))
        self.assertEqual(names["ask"], ("chutesai/AutoPilot", "chutesai/AutoPilot-Private"))
        self.assertEqual(names["always"], names["ask"])

    def test_routes(self) -> None:
        """A route is private if it says so, or ends with the alias; then it is of TEE models."""
        path = Path(self.mktemp())
        path.write_text(
            '[routes.a]\nmodels = ["m"]\nprivate = true\n'
            '[routes.b]\nmodels = ["m", "CHUTESAI/autopilot-private"]\n'
            '[routes.c]\nmodels = ["m", "chutesai/AutoPilot"]\n'
        )
        rules = mapping.parsing(Settings(private="ask", routes_file=str(path))).rules
        found = {n: (r.private, r.tee, r.alias_last) for n, r in rules.routes.items()}
        self.assertEqual(
            found, {"a": (True, True, False), "b": (True, True, True), "c": (False, False, True)}
        )
        self.assertEqual(rules.routes["b"].models, ("m",))
        self.assertTrue(rules.private)
        self.assertFalse(mapping.parsing(Settings()).rules.private)

    def test_origins(self) -> None:
        """Intel's service is connected to in private mode only."""
        plain = mapping.origins(Settings())
        private = mapping.origins(Settings(private="ask"))
        self.assertEqual(private[: len(plain)], plain)
        (intel,) = private[len(plain) :]
        self.assertEqual(intel.host, "api.trustedservices.intel.com")


class GovernedTests(SynchronousTestCase):
    """Whose calls the account's governor counts, and how many it lets pass."""

    def test_auto(self) -> None:
        """By default those of bases of the platform, sixty a minute or as many as it states."""
        settings = Settings(messages_base_url="https://other.example")
        governed = {Dialect.COMPLETIONS, Dialect.RESPONSES}
        self.assertEqual(mapping.governed(settings), governed)
        self.assertEqual(mapping.edge(settings), EdgeConfig(inf, 60.0))
        self.assertTrue(mapping.governs_api(settings))
        self.assertFalse(mapping.governs_api(Settings(api_base_url="https://other.example")))

    def test_number(self) -> None:
        """A number limits the calls to every base, whatever is stated."""
        settings = Settings(edge_rate=7, api_base_url="https://other.example")
        self.assertEqual(mapping.governed(settings), frozenset(mapping.endpoints(settings)))
        self.assertEqual(mapping.edge(settings), EdgeConfig(7.0, 7.0))
        self.assertTrue(mapping.governs_api(settings))

    def test_off(self) -> None:
        """Nothing is counted."""
        settings = Settings(edge_rate="off")
        self.assertEqual(mapping.governed(settings), frozenset())
        self.assertFalse(mapping.governs_api(settings))


class KeyedTests(SynchronousTestCase):
    """Where a key is required."""

    def test_everywhere_and_nowhere(self) -> None:
        """``on`` and ``off`` hold for every dialect, wherever its base is."""
        self.assertEqual(mapping.keyed(Settings(require_key="on")), frozenset(Dialect))
        self.assertEqual(mapping.keyed(Settings(require_key="off")), frozenset())

    def test_auto(self) -> None:
        """``auto`` follows the host of each base: the platform's domain, or below it."""
        self.assertEqual(mapping.keyed(Settings()), frozenset(Dialect))
        for host, required in (
            ("chutes.ai", True),
            ("llm.chutes.ai", True),
            ("LLM.Chutes.AI:444", True),
            ("a.b.chutes.ai", True),
            ("notchutes.ai", False),
            ("chutes.ai.example", False),
            ("127.0.0.1:8000", False),
        ):
            given = Settings(
                backend_base_url=f"https://{host}", responses_base_url="http://192.0.2.1"
            )
            expected = {Dialect.MESSAGES, *([Dialect.COMPLETIONS] if required else ())}
            self.assertEqual(mapping.keyed(given), expected, host)


class UndisturbedTests(ReloadTestCase):
    """Requests in flight keep their settings."""

    def test_streams(self) -> None:
        """A stream keeps its timeouts, guard and limits; the next one has the new ones."""
        self.start()
        before = self.ask()
        wire = self.platform.wire
        wire.says(head(200, SSE), chunk(TOKEN))
        self.change(
            upstream_idle_timeout_ms=1000,
            sse_guard="off",
            max_concurrent_requests=1,
            aliases=("other",),
        )
        self.reactor.advance(40)
        self.assertFalse(before.closed)
        wire.breaks()
        self.assertIn(b"upstream_stream_interrupted", before.response.body)

    def test_attempts(self) -> None:
        """A request that waits for its first response keeps the old policy."""
        self.start(failover_policy="open")
        browser = self.ask(stream=False)
        self.change(failover_policy="strict", max_attempts=1)
        self.platform.wire.says(whole(500, b"{}"))
        self.platform.wire.says(whole(200, b"{}"))
        self.assertEqual(browser.response.status, 200)

    def test_connecting(self) -> None:
        """A request's later attempts keep the connect timeout of the first."""
        self.start()
        browser = self.ask(stream=False)
        wire = self.platform.wire
        self.change(upstream_connect_timeout_ms=100)
        wire.breaks()
        self.reactor.advance(0.2)
        self.assertEqual(browser.wire, b"")
        self.platform.wire.says(whole(200, b"{}"))
        self.assertEqual(browser.response.value(b"x-chutes-autopilot-attempts"), b"2")

    def test_request_that_is_arriving(self) -> None:
        """A half-received request keeps the limit of its start."""
        self.start(max_request_bytes=200)
        browser = self.browser()
        browser.sends(b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Length: 150\r\n")
        self.change(max_request_bytes=1000, trusted_proxy_cidrs=(ip_network("10.0.0.0/8"),))
        browser.sends(b"\r\n" + b"x" * 150)
        self.assertEqual(browser.response.error[::2], (400, "invalid_json"))
