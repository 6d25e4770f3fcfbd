"""Tests of a reload: settings that change, settings that need a restart, and the log about both."""

from __future__ import annotations

from dataclasses import replace
from unittest.mock import patch

import trustme
from twisted.internet.testing import EventLoggingObserver
from twisted.logger import formatEvent, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase

from autopilot.settings import DECLARED, Settings, SettingsError, reload
from autopilot.settings.reload import change
from tests.unit.wiring.cases import ReloadTestCase

_PAIR = "tls_cert_file", "tls_key_file"
_OTHERS: dict[str, object] = {
    "otel_traces": True,
    "workers": "auto",
    "listen_addr": "127.0.0.1:9",
    "admin_listen_addr": "127.0.0.1:10",
    "backend_base_url": "http://other.test",
    "messages_base_url": "http://other.test",
    "responses_base_url": "http://other.test",
    "models_url": "http://other.test/m",
    "utilization_url": "http://other.test/u",
    "api_base_url": "http://other.test",
    "https_proxy": "http://other.test:3128",
    "http_proxy": "http://other.test:3128",
    "no_proxy": ("other.test",),
    "sticky_hash_key": b"a key of the tests",
    "keys_state_file": "keys-of-the-tests.json",
    "private": "ask",
    "private_tcb": ("UpToDate", "SWHardeningNeeded"),
    "private_tcb_grace_days": 7,
    "private_gpu": "off",
    "private_envelope": "accept-missing",
    "private_collateral_url": "http://other.test",
    "private_collateral_dir": ".",
}
# These depend on others, which other tests change with them.
_DEPENDENT = (*_PAIR, "state_url", "feeds", "private_test_roots")


class WaitingTests(ReloadTestCase):
    """Settings that need a restart."""

    def setUp(self) -> None:
        """Observe the log."""
        super().setUp()
        self.observer = EventLoggingObserver()
        globalLogPublisher.addObserver(self.observer)
        self.addCleanup(globalLogPublisher.removeObserver, self.observer)

    def logged(self) -> list[str]:
        """Return the messages about settings since the last call."""
        events = [formatEvent(event) for event in self.observer]
        self.observer._events.clear()
        return [text for text in events if text.startswith("Settings")]

    def test_each(self) -> None:
        """The log names the setting without its value, and the old value stays in effect."""
        self.start()
        before = self.router.settings
        files = self.files()
        self.logged()
        for setting in DECLARED:
            if setting.live or setting.field in _DEPENDENT:
                continue
            other = files.get(setting.field) or _OTHERS.get(setting.field)
            if other is None:
                other = getattr(before, setting.field) // 2 or 200
            made = self.change(**{setting.field: other})
            self.assertEqual((made.changed, made.waiting), ((), (setting.name,)))
            self.assertIs(self.router.settings, made.settings)
            self.assertEqual(self.router.settings, before)
            self.assertEqual(
                self.logged(),
                [
                    "Settings that need a restart were changed and are not in effect: "
                    + setting.name
                ],
            )

    def test_sharing(self) -> None:
        """A store, its key of hashes and the feeds over it wait together."""
        self.start()
        self.logged()
        self.change(
            state_url="redis://:hunter2@store.test", sticky_hash_key=b"a key", feeds="shared"
        )
        (line,) = self.logged()
        self.assertIn("STICKY_HASH_KEY, STATE_URL, FEEDS", line)
        self.assertNotIn("hunter2", line)

    def files(self) -> dict[str, str]:
        """Return files for the settings that name one with a certificate or a key."""
        leaf = trustme.CA().issue_cert("router.test")
        names = "upstream_ca_file", *_PAIR
        made = {name: self.mktemp() for name in names}
        for name, blob in zip(
            names, (*leaf.cert_chain_pems[:1] * 2, leaf.private_key_pem), strict=True
        ):
            blob.write_to_path(made[name])
        return made

    def test_pair(self) -> None:
        """A certificate and its key wait together, for either needs the other."""
        self.start()
        files = self.files()
        self.logged()
        made = self.change(**{name: files[name] for name in _PAIR})
        self.assertEqual((made.changed, made.waiting), ((), ("TLS_CERT_FILE", "TLS_KEY_FILE")))

    def test_names_and_no_values(self) -> None:
        """The log names changed settings in the table's order, and no others."""
        self.start()
        self.logged()
        self.change(max_attempts=3, commit="byte", sticky_hash_key=b"hunter2")
        first, second = self.logged()
        self.assertEqual(first, "Settings changed: COMMIT, MAX_ATTEMPTS")
        self.assertTrue(second.endswith(": STICKY_HASH_KEY"))
        self.change()
        self.assertEqual(self.logged(), ["Settings reloaded: nothing changed"])

    def test_stopping(self) -> None:
        """After the router has begun to stop, nothing changes."""
        self.start()
        self.assertFalse(self.router.stopping)
        self.router.stopService()
        self.assertRaises(RuntimeError, self.change, max_attempts=1)
        self.assertEqual(self.router.settings.max_attempts, 8)


class ChangeTests(SynchronousTestCase):
    """The change from the settings in effect to newly loaded ones."""

    def test_contradiction(self) -> None:
        """A live setting must not contradict one that needs a restart."""
        apart = [replace(each, live=each.name == "LISTEN_ADDR") for each in DECLARED]
        before = Settings(listen_addr="127.0.0.1:1", admin_listen_addr="127.0.0.1:2")
        wanted = Settings(listen_addr="127.0.0.1:2", admin_listen_addr="127.0.0.1:1")
        with patch.object(reload, "DECLARED", apart):
            self.assertRaises(SettingsError, change, before, wanted)


class FollowerTests(ReloadTestCase):
    """The callbacks after a reload."""

    def test_follower_that_raises(self) -> None:
        """A follower that raises is logged, once; the others and the reload take effect."""
        heard: list[int] = []

        def broken(settings: Settings) -> None:
            raise ZeroDivisionError("secret")

        self.start()
        self.router.followers += [broken, lambda settings: heard.append(settings.max_attempts)]
        for attempts in (3, 4):
            made = self.change(max_attempts=attempts)
            self.assertEqual(made.changed, ("MAX_ATTEMPTS",))
        self.assertEqual(heard, [3, 4])
        self.assertEqual(self.router.settings.max_attempts, 4)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.reactor.advance(60)
        self.change(max_attempts=5)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
