"""Tests of the warnings about valid settings that leave no room for what they should."""

from __future__ import annotations

from ipaddress import ip_network
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any

from trustme import CA
from twisted.trial.unittest import SynchronousTestCase

from autopilot.settings import Settings, settings_warnings
from autopilot.settings.files.keys import KeyEntry, KeysFile
from autopilot.settings.files.platform_keys import PlatformKeysFile
from autopilot.settings.files.routes import RouteEntry, RoutesFile


class SecondAttemptTests(SynchronousTestCase):
    """The time and the number of attempts."""

    def warned(self, **given: Any) -> list[str]:
        """Return the setting and value with which each warning begins."""
        found = settings_warnings(Settings(**given))
        for text in found:
            self.assertIn(" leaves no room for a second attempt", text)
            self.assertNotIn("\n", text)
        return [text.partition(" ")[0] for text in found]

    def test_defaults(self) -> None:
        """The defaults leave room."""
        self.assertEqual(settings_warnings(Settings()), ())

    def test_one_attempt(self) -> None:
        """With one attempt allowed the times do not matter."""
        self.assertEqual(self.warned(max_attempts=1), ["MAX_ATTEMPTS=1"])
        self.assertEqual(self.warned(max_attempts=1, total_deadline_ms=1), ["MAX_ATTEMPTS=1"])
        self.assertEqual(self.warned(max_attempts=2), [])

    def test_streams(self) -> None:
        """Either time that ends an attempt at a stream leaves room, if it is short enough."""
        for total, expected in ((12_001, []), (12_000, ["FAILOVER_AFTER_MS=12000"])):
            given = {"total_deadline_ms": total, "upstream_unary_timeout_ms": 5000}
            self.assertEqual(self.warned(**given), expected)
            self.assertEqual(self.warned(**given, upstream_header_timeout_ms=11_999), [])

    def test_plain_requests(self) -> None:
        """Either time that ends an attempt at a plain answer leaves room, if it is short enough."""
        for total, expected in ((180_001, []), (180_000, ["PLAIN_FAILOVER_AFTER_MS=180000"])):
            self.assertEqual(self.warned(total_deadline_ms=total), expected)
            given = {"total_deadline_ms": total, "upstream_unary_timeout_ms": 179_999}
            self.assertEqual(self.warned(**given), [])
        given = {"total_deadline_ms": 100_000, "upstream_unary_timeout_ms": 100_000}
        self.assertEqual(self.warned(**given), ["UPSTREAM_UNARY_TIMEOUT_MS=100000"])

    def test_all(self) -> None:
        """Each kind of request has its own warning, which names the deadline too."""
        found = settings_warnings(Settings(total_deadline_ms=2000))
        self.assertEqual(len(found), 3)
        self.assertEqual(
            found[0],
            "UPSTREAM_CONNECT_TIMEOUT_MS=2000 leaves no room for a second attempt after an"
            " unreachable model, as TOTAL_DEADLINE_MS=2000 is not longer; lower"
            " UPSTREAM_CONNECT_TIMEOUT_MS or raise TOTAL_DEADLINE_MS",
        )


class BodyTests(SynchronousTestCase):
    """The longest body."""

    def test_no_room(self) -> None:
        """One body of the size allowed must fit."""
        for buffered, count in ((99, 1), (100, 0), (101, 0)):
            found = settings_warnings(Settings(max_buffered_bytes=buffered, max_request_bytes=100))
            self.assertEqual(len(found), count)
            for text in found:
                self.assertTrue(text.startswith("MAX_BUFFERED_BYTES=99 leaves no room for a body"))


class AliasTests(SynchronousTestCase):
    """A name that clients can ask for."""

    def test_patterns_only(self) -> None:
        """One name among the patterns is enough; without one there is a warning."""
        for aliases in (("auto",), ("gpt-*", "auto"), ("auto", "gpt-*", "claude-*")):
            self.assertEqual(settings_warnings(Settings(aliases=aliases)), ())
        self.assertEqual(
            settings_warnings(Settings(aliases=("gpt-*", "claude-*"))),
            (
                (
                    "ALIASES='gpt-*,claude-*' has patterns only, and GET /v1/models lists none of"
                    " them; add a name for the router's choice, such as chutesai/AutoPilot"
                ),
            ),
        )


class ReadablePromptsTests(SynchronousTestCase):
    """Private mode on a port that other machines reach."""

    def warned(self, **given: Any) -> bool:
        """Return whether there is the warning."""
        found = settings_warnings(Settings(**given))
        return any("takes prompts from other machines without TLS" in each for each in found)

    def test_addresses(self) -> None:
        """Any address but this machine's own is a reason, as is the default."""
        for mode in ("ask", "always"):
            self.assertTrue(self.warned(private=mode))
            for address in ("0.0.0.0:80", "[::]:80", "10.1.2.3:80", "router.example:80"):
                self.assertTrue(self.warned(private=mode, listen_addr=address), address)
            for address in ("127.0.0.1:80", "127.9.9.9:0", "[::1]:80", "localhost:80"):
                self.assertFalse(self.warned(private=mode, listen_addr=address), address)

    def test_off(self) -> None:
        """Without private mode nothing is promised."""
        self.assertFalse(self.warned(listen_addr="0.0.0.0:80"))

    def test_behind_tls(self) -> None:
        """A proxy that is trusted speaks TLS, as far as the operator says; headers alone do not."""
        trusted = {"trusted_proxy_cidrs": (ip_network("10.0.0.0/8"),)}
        self.assertTrue(self.warned(private="ask", **trusted))
        self.assertFalse(self.warned(private="ask", **trusted, trust_proxy_headers=True))

    def test_own_certificate(self) -> None:
        """A certificate of the router's own needs nothing in front."""
        with NamedTemporaryFile() as cert, NamedTemporaryFile() as key:
            made = CA().issue_cert("router.example")
            made.cert_chain_pems[0].write_to_path(cert.name)
            made.private_key_pem.write_to_path(key.name)
            self.assertFalse(
                self.warned(private="ask", tls_cert_file=cert.name, tls_key_file=key.name)
            )

    def test_words(self) -> None:
        """It names the settings, their values, and what to do, on one line."""
        (text,) = settings_warnings(Settings(private="always"))
        self.assertIn("PRIVATE=always", text)
        self.assertIn("LISTEN_ADDR=0.0.0.0:8080", text)
        self.assertIn("TLS_CERT_FILE", text)
        self.assertNotIn("\n", text)


class PoolTests(SynchronousTestCase):
    """The file of the platform's keys."""

    def test_readable(self) -> None:
        """One warning names a file that every user can read."""
        with NamedTemporaryFile() as file:
            Path(file.name).chmod(0o644)
            given = {"chutes_api_keys_file": PlatformKeysFile(file.name), "require_key": "off"}
            (text,) = settings_warnings(Settings(**given))  # type: ignore[arg-type]
            self.assertIn("CHUTES_API_KEYS_FILE: every user of this host can read", text)
            Path(file.name).chmod(0o640)
            self.assertEqual(settings_warnings(Settings(**given)), ())  # type: ignore[arg-type]


class BudgetTests(SynchronousTestCase):
    """Budgets that a restart begins anew."""

    def test_forgotten(self) -> None:
        """One warning names what keeps them; without budgets there is nothing to keep."""
        keys = KeysFile("k", (KeyEntry("a", "0" * 64, tokens_per_day=1),))
        (text,) = settings_warnings(Settings(keys_file=keys))
        self.assertIn("begin anew with each restart; set KEYS_STATE_FILE", text)
        self.assertEqual(settings_warnings(Settings(keys_file=keys, keys_state_file="x")), ())
        store = {"state_url": "redis://192.0.2.1", "sticky_hash_key": b"k" * 32}
        self.assertEqual(settings_warnings(Settings(keys_file=keys, **store)), ())  # type: ignore[arg-type]
        free = KeysFile("k", (KeyEntry("a", "0" * 64, requests_per_minute=1),))
        self.assertEqual(settings_warnings(Settings(keys_file=free)), ())


class RoutesOfKeysTests(SynchronousTestCase):
    """Routes that keys may use."""

    def test_unknown(self) -> None:
        """One warning for each that no file has; a pattern needs one route that it matches."""
        names = ("Coder", "co*r", "*", "cod", "x*")
        keys = KeysFile("k", (KeyEntry("a", "0" * 64, routes=names),))
        routes = RoutesFile("r", (RouteEntry("coder", ("acme/one",)),))
        for given, unknown in ((routes, ("cod", "x*")), (None, ("Coder", "co*r", "cod", "x*"))):
            texts = settings_warnings(Settings(keys_file=keys, routes_file=given))
            self.assertEqual(len(texts), len(unknown))
            for text, name in zip(texts, unknown, strict=True):
                self.assertIn(f"keys.a.routes has '{name}', which ROUTES_FILE does not", text)
