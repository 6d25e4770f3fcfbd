"""Tests of loading settings: defaults, precedence, and one line per invalid variable."""

from __future__ import annotations

import dataclasses
from ipaddress import ip_network
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from autopilot.settings import (
    DECLARED,
    Settings,
    SettingsError,
    UsualAddress,
    choose,
    load_settings,
)
from tools.env_example import env_example

ROOT = Path(__file__).resolve().parents[3]

DEFAULTS: dict[str, object] = {
    "LISTEN_ADDR": "0.0.0.0:8080",
    "ADMIN_LISTEN_ADDR": "127.0.0.1:8081",
    "BACKEND_BASE_URL": "https://llm.chutes.ai",
    "MESSAGES_BASE_URL": "https://claude.chutes.ai",
    "RESPONSES_BASE_URL": "https://responses.chutes.ai",
    "MODELS_URL": "https://llm.chutes.ai/v1/models",
    "MODELS_REFRESH_MS": 300000,
    "API_BASE_URL": "https://api.chutes.ai",
    "EVIDENCE_REFRESH_MS": 21600000,
    "UTILIZATION_URL": "https://api.chutes.ai/chutes/utilization",
    "UTILIZATION_REFRESH_MS": 15000,
    "CONTROL_PLANE_TIMEOUT_MS": 10000,
    "READYZ_MAX_SNAPSHOT_AGE_MS": 60000,
    "READYZ_MAX_ALLOWLIST_AGE_MS": 900000,
    "ALIASES": ("chutesai/AutoPilot",),
    "UNKNOWN_MODELS": "reject",
    "ROUTES_FILE": None,
    "REQUIRE_TEE": False,
    "REQUIRE_KEY": "auto",
    "KEYS_FILE": None,
    "KEYS_STATE_FILE": None,
    "CHUTES_API_KEYS_FILE": None,
    "FALLBACKS_FILE": None,
    "EDGE_RATE": "auto",
    "PACE_MS": 2000,
    "KEEPALIVE_AFTER_MS": 0,
    "HEDGE_AFTER_P95": 0,
    "FAILOVER_POLICY": "standard",
    "SSE_GUARD": "on",
    "ERROR_SHAPE": "openai",
    "USAGE": "observe",
    "COMMIT": "content",
    "COMMIT_MAX_BYTES": 8388608,
    "LIST_RETRY_MS": 10000,
    "LOG_LEVEL": "info",
    "LOG_FORMAT": "text",
    "LOG_SAMPLE": 1.0,
    "KEY_METRICS": False,
    "OTEL_TRACES": False,
    "UPSTREAM_POOL_IDLE_MS": 4000,
    "UPSTREAM_POOL_SIZE": 1024,
    "UPSTREAM_CA_FILE": None,
    "TLS_CERT_FILE": None,
    "TLS_KEY_FILE": None,
    "WORKERS": 1,
    "HTTPS_PROXY": None,
    "HTTP_PROXY": None,
    "NO_PROXY": (),
    "STICKY_TTL_SECS": 1800,
    "STICKY_MAX_ENTRIES": 100_000,
    "STICKY_SCOPE": "conversation",
    "STICKY_HASH_KEY": None,
    "STATE_URL": None,
    "FEEDS": "own",
    "FEEDS_LEASE_MS": 30_000,
    "PRIVATE": "off",
    "PRIVATE_TCB": ("UpToDate",),
    "PRIVATE_TCB_GRACE_DAYS": 0,
    "PRIVATE_MEASUREMENTS": "published",
    "PRIVATE_GPU": "signed",
    "PRIVATE_ENVELOPE": "require",
    "PRIVATE_ATTEST_TTL_MS": 900_000,
    "PRIVATE_ATTEST_TIMEOUT_MS": 20_000,
    "PRIVATE_COLLATERAL_URL": "https://api.trustedservices.intel.com",
    "PRIVATE_COLLATERAL_DIR": None,
    "PRIVATE_MAX_INSTANCES": 3,
    "PRIVATE_TEST_ROOTS": None,
    "TRUST_PROXY_HEADERS": False,
    "TRUSTED_PROXY_CIDRS": (),
    "MAX_REQUEST_BYTES": 33554432,
    "MAX_MODEL_LIST_ITEMS": 8,
    "MAX_ATTEMPTS": 8,
    "TOTAL_DEADLINE_MS": 900000,
    "MAX_CONCURRENT_REQUESTS": 10000,
    "MAX_BUFFERED_BYTES": 536870912,
    "CLIENT_MAX_SHARE": 0.8,
    "UPSTREAM_CONNECT_TIMEOUT_MS": 2000,
    "UPSTREAM_HEADER_TIMEOUT_MS": 60000,
    "UPSTREAM_UNARY_TIMEOUT_MS": 600000,
    "UPSTREAM_FIRST_BODY_BYTE_TIMEOUT_MS": 60000,
    "UPSTREAM_IDLE_TIMEOUT_MS": 45000,
    "ERROR_BODY_TIMEOUT_MS": 2000,
    "COOLDOWN_FAILURES": 3,
    "COOLDOWN_MS": 10000,
    "FAILOVER_AFTER_MS": 12000,
    "PLAIN_FAILOVER_AFTER_MS": 180000,
    "CORS_ALLOW_ORIGINS": (),
    "DRAIN_DELAY_MS": 0,
    "DRAIN_TIMEOUT_MS": 30000,
    "CLIENT_HEADER_TIMEOUT_MS": 10000,
    "CLIENT_BODY_TIMEOUT_MS": 60000,
    "CLIENT_IDLE_TIMEOUT_MS": 75000,
}


def problems_of(**texts: str) -> tuple[str, ...]:
    """Return the error lines for these environment variables."""
    try:
        load_settings({}, texts, {})
    except SettingsError as wrong:
        return wrong.problems
    return ()


class TableTests(SynchronousTestCase):
    """The table of settings."""

    def test_defaults(self) -> None:
        """Without any source every setting has its documented default."""
        settings = load_settings({}, {}, {})
        found = {each.name: getattr(settings, each.field) for each in DECLARED}
        self.assertEqual(found, DEFAULTS)
        self.assertEqual(settings, Settings())

    def test_every_setting_is_explained(self) -> None:
        """Each setting has one or two sentences of help."""
        for setting in DECLARED:
            self.assertRegex(setting.help, r"\A[A-Z/].{10,200}\.\Z", setting.name)

    def test_env_example_is_current(self) -> None:
        """``.env.example`` lists every setting with its default."""
        self.assertEqual((ROOT / ".env.example").read_text(), env_example())

    def test_values_are_written_so_that_they_can_be_read(self) -> None:
        """The text shown for a default parses to the same value."""
        for setting in DECLARED:
            value = getattr(Settings(), setting.field)
            if shown := setting.kind.show(value):
                self.assertEqual(setting.parse(shown), value, setting.name)

    def test_frozen(self) -> None:
        """Settings are immutable after validation."""
        with self.assertRaises(dataclasses.FrozenInstanceError):
            Settings().max_attempts = 3  # type: ignore[misc]

    def test_secret_is_not_in_repr(self) -> None:
        """The hash key does not appear in the representation."""
        self.assertNotIn("hunter2", repr(Settings(sticky_hash_key=b"hunter2")))


class PrecedenceTests(SynchronousTestCase):
    """Option over environment over file over default."""

    def test_order(self) -> None:
        """The first source that sets a variable counts."""
        name = "MAX_ATTEMPTS"
        sources: tuple[dict[str, str | None], ...] = ({name: "2"}, {name: "3"}, {name: "4"})
        for found, given_at in ((2, 0), (3, 1), (4, 2), (8, 3)):
            left = tuple(each if at >= given_at else {} for at, each in enumerate(sources))
            self.assertEqual(load_settings(*left).max_attempts, found)

    def test_empty_is_unset(self) -> None:
        """An empty or blank text counts as not set, so that the next source counts."""
        settings = load_settings(
            {"MAX_ATTEMPTS": None}, {"MAX_ATTEMPTS": " "}, {"MAX_ATTEMPTS": "5"}
        )
        self.assertEqual(settings.max_attempts, 5)

    def test_origin_is_known(self) -> None:
        """The origin of each variable that is set is recorded."""
        chosen = choose({"COMMIT": "byte"}, {"ALIASES": "a"}, {"COMMIT": "x", "LOG_LEVEL": "warn"})
        self.assertEqual(
            {name: each.origin for name, each in chosen.items()},
            {"COMMIT": "option", "ALIASES": "environment", "LOG_LEVEL": ".env"},
        )

    def test_foreign_variables_are_ignored(self) -> None:
        """Unknown environment variables are ignored."""
        self.assertEqual(load_settings({}, {"PATH": "/bin", "HOME": "\udcff"}, {}), Settings())


class RefusalTests(SynchronousTestCase):
    """Invalid texts: one line each, naming the variable."""

    BAD = (
        ("LISTEN_ADDR", "8080"),
        ("LISTEN_ADDR", "0.0.0.0:65536"),
        ("LISTEN_ADDR", ":8080"),
        ("LISTEN_ADDR", "::1:8080"),
        ("LISTEN_ADDR", "[::g]:1"),
        ("LISTEN_ADDR", "300.0.0.1:1"),
        ("LISTEN_ADDR", "a b:1"),
        ("ADMIN_LISTEN_ADDR", "localhost"),
        ("LISTEN_ADDR", "-"),
        ("ADMIN_LISTEN_ADDR", "0.0.0.0:8080"),
        ("BACKEND_BASE_URL", "llm.chutes.ai"),
        ("BACKEND_BASE_URL", "ftp://llm.chutes.ai"),
        ("BACKEND_BASE_URL", "https://"),
        ("BACKEND_BASE_URL", "https://me:pw@llm.chutes.ai"),
        ("BACKEND_BASE_URL", "https://llm.chutes.ai?key=1"),
        ("BACKEND_BASE_URL", "https://llm.chutes.ai#top"),
        ("BACKEND_BASE_URL", "https://llm.chutes.ai:99999"),
        ("BACKEND_BASE_URL", "https://llm.chutes.ai:"),
        ("BACKEND_BASE_URL", "https://llm chutes.ai"),
        ("BACKEND_BASE_URL", "https://[::1"),
        ("BACKEND_BASE_URL", "https://\u200bllm.chutes.ai"),
        ("MODELS_URL", "/v1/models"),
        ("MODELS_REFRESH_MS", "5m"),
        ("MODELS_REFRESH_MS", "1e5"),
        ("MODELS_REFRESH_MS", "300_000"),
        ("MODELS_REFRESH_MS", "٣٠٠٠"),
        ("MODELS_REFRESH_MS", "99"),
        ("MODELS_REFRESH_MS", "-1"),
        ("MODELS_REFRESH_MS", "9" * 5000),
        ("MAX_ATTEMPTS", "0"),
        ("MAX_REQUEST_BYTES", "32MiB"),
        ("ALIASES", ","),
        ("ALIASES", "two words"),
        ("UNKNOWN_MODELS", "drop"),
        ("REQUIRE_TEE", "maybe"),
        ("REQUIRE_KEY", "true"),
        ("EDGE_RATE", "0"),
        ("EDGE_RATE", "60/m"),
        ("EDGE_RATE", "on"),
        ("PACE_MS", "-1"),
        ("KEEPALIVE_AFTER_MS", "999"),
        ("KEEPALIVE_AFTER_MS", "-1"),
        ("HEDGE_AFTER_P95", "101"),
        ("FAILOVER_POLICY", "lenient"),
        ("COMMIT", "never"),
        ("SSE_GUARD", "true"),
        ("ERROR_SHAPE", "anthropic"),
        ("LOG_SAMPLE", "1.1"),
        ("LOG_SAMPLE", "nan"),
        ("LOG_SAMPLE", "-0.1"),
        ("LOG_LEVEL", "verbose"),
        ("UPSTREAM_CA_FILE", "/no/such/file.pem"),
        ("UPSTREAM_CA_FILE", "/"),
        ("STICKY_HASH_KEY", "k" * 65),
        ("STICKY_HASH_KEY", "\udcff"),
        ("TRUST_PROXY_HEADERS", "true"),
        ("TRUSTED_PROXY_CIDRS", "10.0.0.1/8"),
        ("TRUSTED_PROXY_CIDRS", "10.0.0.0/8,proxy"),
        ("CORS_ALLOW_ORIGINS", "chat.example"),
        ("CORS_ALLOW_ORIGINS", "https://chat.example/path"),
    )

    def test_one_line_that_names_the_variable(self) -> None:
        """Each error is one printable line that begins with the variable's name."""
        for name, text in self.BAD:
            lines = problems_of(**{name: text})
            self.assertEqual(len(lines), 1, (name, text, lines))
            self.assertRegex(lines[0], rf"\A{name}: [\x20-\x7e]{{10,200}}\Z")

    def test_every_problem_is_reported(self) -> None:
        """All invalid variables are reported, contradictions included."""
        lines = problems_of(MAX_ATTEMPTS="x", COMMIT="y", TRUST_PROXY_HEADERS="yes")
        names = [line.partition(":")[0] for line in lines]
        self.assertEqual(names, ["COMMIT", "MAX_ATTEMPTS", "TRUST_PROXY_HEADERS"])

    def test_no_contradiction_with_what_was_refused(self) -> None:
        """An invalid CIDR list is not reported as a missing one as well."""
        lines = problems_of(TRUST_PROXY_HEADERS="true", TRUSTED_PROXY_CIDRS="10.0.0.0/99")
        self.assertEqual([line.partition(":")[0] for line in lines], ["TRUSTED_PROXY_CIDRS"])

    def test_secrets_are_not_repeated(self) -> None:
        """An invalid key, and credentials in a URL, do not appear in the error."""
        lines = problems_of(
            STICKY_HASH_KEY="hunter2" * 20,
            MODELS_URL="https://me:hunter2@host/models",
            UTILIZATION_URL="https://host/?key=hunter2",
        )
        self.assertEqual(len(lines), 3)
        self.assertNotIn("hunter2", "".join(lines))

    @given(st.sampled_from(DECLARED), st.text(max_size=40))
    def test_any_text_is_read_or_refused(self, setting: object, text: str) -> None:
        """Any text yields either a value or a one-line error."""
        assert setting in DECLARED
        name = getattr(setting, "name", "")
        for line in problems_of(**{name: text}):
            self.assertRegex(line, r"\A[A-Z0-9_]+: [\x20-\x7e]+\Z")


class DirectTests(SynchronousTestCase):
    """Settings constructed by an embedding application."""

    def test_canonical(self) -> None:
        """Values are converted to their canonical form."""
        settings = Settings(
            backend_base_url="http://localhost:8000/api/",
            log_sample=1,
            cors_allow_origins=("HTTPS://Chat.Example",),
            trust_proxy_headers=True,
            trusted_proxy_cidrs=(ip_network("10.0.0.0/8"),),
        )
        self.assertEqual(settings.backend_base_url, "http://localhost:8000/api")
        self.assertIsInstance(settings.log_sample, float)
        self.assertEqual(settings.cors_allow_origins, ("https://chat.example",))

    def test_usual_address(self) -> None:
        """The address of the operators' pages that is not given equals the same one given."""
        given = load_settings({}, {"ADMIN_LISTEN_ADDR": "127.0.0.1:8081"}, {})
        self.assertEqual(given, Settings())
        self.assertIsInstance(Settings().admin_listen_addr, UsualAddress)
        self.assertNotIsInstance(given.admin_listen_addr, UsualAddress)
        changed = dataclasses.replace(Settings(), max_attempts=2)
        self.assertIsInstance(changed.admin_listen_addr, UsualAddress)

    def test_wrong_types_and_ranges(self) -> None:
        """For each setting a value of the wrong type or out of range is rejected like a text."""
        for setting in DECLARED:
            for value in (object(), -1, [], float("nan")):
                with self.assertRaises(SettingsError, msg=f"{setting.name} {value!r}") as caught:
                    Settings(**{setting.field: value})  # type: ignore[arg-type]
                (line,) = caught.exception.problems
                self.assertRegex(line, rf"\A{setting.name}: [\x20-\x7e]+\Z")

    def test_wrong_items(self) -> None:
        """A tuple with an invalid item is rejected."""
        for field in ("aliases", "trusted_proxy_cidrs", "cors_allow_origins"):
            with self.assertRaises(SettingsError):
                Settings(**{field: (1,)})  # type: ignore[arg-type]
        with self.assertRaises(SettingsError):
            Settings(max_attempts=True, require_tee=1)  # type: ignore[arg-type]
