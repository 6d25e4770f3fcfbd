"""Tests of the URL of the store: its forms, its faults, and what is never shown."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from autopilot.settings import SettingsError, choose, effective_settings, load_settings
from autopilot.settings.state_url import StateStore, StateUrl

ACCEPTED = (
    ("redis://store.test", StateStore(host="store.test")),
    ("REDIS://Store.test/", StateStore(host="store.test")),
    ("rediss://store.test:6380/2", StateStore(host="store.test", port=6380, tls=True, database=2)),
    ("redis://192.0.2.1", StateStore(host="192.0.2.1")),
    ("redis://[2001:db8::1]", StateStore(host="2001:db8::1")),
    ("redis://[2001:db8::1]:7000", StateStore(host="2001:db8::1", port=7000)),
    ("redis://:hunter2@store.test", StateStore(host="store.test", password="hunter2")),
    (
        "redis://me:hun%2Fter%402@store.test",
        StateStore(host="store.test", user="me", password="hun/ter@2"),
    ),
    (
        "redis://me:hunt@er2@store.test?prefix=team-a",
        StateStore(host="store.test", user="me", password="hunt@er2", prefix="team-a"),
    ),
)
REFUSED = (
    ("http://me:hunter2@store.test", "http:// URL"),
    ("unix:///run/redis.sock", "unix:// URL"),
    ("hunter2://store.test", "another scheme"),
    ("store.test:6379", "not a URL"),
    ("redis://", "no valid host"),
    ("redis://me:hunter2@", "no valid host"),
    ("redis://me:hunter2@store.test:0", "no valid host"),
    ("redis://me:hunter2@store.test:99999", "no valid host"),
    ("redis://me:hunter2@sto_re.test:1x", "no valid host"),
    ("rediss://1234", "no valid host"),
    ("redis://hunter2@store.test", "without a password"),
    ("redis://me:@store.test", "password is empty"),
    ("redis://me:hun/ter2@store.test", "%2F"),
    ("redis://me:hun?ter2@store.test", "%2F"),
    ("redis://me:hun#ter2@store.test", "not allowed"),
    ("redis://me:hun ter2@store.test", "not allowed"),
    ("redis://me:hunter2%0A@store.test", "control"),
    ("redis://me:hunter2@store.test/zero", "database"),
    ("redis://me:hunter2@store.test/1/2", "database"),
    ("redis://me:hunter2@store.test?db=1", "prefix=name"),
    ("redis://me:hunter2@store.test?prefix=", "prefix=name"),
    ("redis://me:hunter2@store.test?prefix=a{b}", "prefix=name"),
)
KEY = {"STICKY_HASH_KEY": "a key of the tests"}

names = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=20)


class StateUrlTests(SynchronousTestCase):
    """`STATE_URL`."""

    def test_accepted(self) -> None:
        """Each part is read, also with a user name, a password, a database and a prefix."""
        for text, store in ACCEPTED:
            self.assertEqual(StateUrl().parse(text), store, text)

    def test_refused(self) -> None:
        """Each fault has one line that says what to do, and no part of a password."""
        for text, said in REFUSED:
            with self.assertRaises(SettingsError) as caught:
                load_settings({}, {"STATE_URL": text, **KEY}, {})
            (line,) = caught.exception.problems
            self.assertIn(said, line)
            self.assertTrue(line.startswith("STATE_URL: "))
            for part in ("hunter2", "ter2"):
                self.assertNotIn(part, line)

    @given(names, names)
    def test_shown_again(self, user: str, password: str) -> None:
        """What is shown is read as the same store, whatever the user name and the password."""
        store = StateStore(host="store.test", user=user, password=password, database=3)
        self.assertEqual(StateUrl().parse(StateUrl().show(store)), store)

    def test_password_is_hidden(self) -> None:
        """Neither the representation nor the effective settings show user name or password."""
        texts = {"STATE_URL": "rediss://me:hunter2@store.test/1?prefix=x", **KEY}
        settings = load_settings({}, texts, {})
        shown = {
            each.name: each.value for each in effective_settings(settings, choose({}, texts, {}))
        }
        self.assertEqual(shown["STATE_URL"], "rediss://********@store.test:6379/1?prefix=x")
        self.assertNotIn("hunter2", repr(settings) + repr(settings.state_url))
        self.assertEqual(StateUrl().hide(None), "")
        self.assertEqual(StateUrl().show(None), "")

    def test_needs_the_key_of_hashes(self) -> None:
        """Without a common key, no router would know the clients of another."""
        with self.assertRaises(SettingsError) as caught:
            load_settings({}, {"STATE_URL": "redis://store.test"}, {})
        (line,) = caught.exception.problems
        self.assertIn("STATE_URL: needs STICKY_HASH_KEY", line)

    def test_shared_feeds_need_a_store(self) -> None:
        """`FEEDS=shared` without a store is one line; a lease under a second another."""
        given = {"FEEDS": "shared", "FEEDS_LEASE_MS": "999"}
        with self.assertRaises(SettingsError) as caught:
            load_settings({}, given, {})
        self.assertEqual(
            [line.partition(":")[0] for line in caught.exception.problems],
            ["FEEDS_LEASE_MS", "FEEDS"],
        )

    def test_values_of_an_application(self) -> None:
        """An application may give the store itself, but nothing that is neither it nor a text."""
        store = StateStore(host="store.test")
        self.assertIs(StateUrl().check(store), store)
        self.assertIsNone(StateUrl().check(None))
        self.assertRaises(ValueError, StateUrl().check, 7)
