"""Tests of the live settings of keys, each named after its setting."""

from __future__ import annotations

from pathlib import Path

from tests.unit.relay.upstreams import whole
from tests.unit.wiring.cases import ReloadTestCase
from tests.unit.wiring.test_keys import entry


class KeysTests(ReloadTestCase):
    """Keys of clients, and keys of the platform."""

    def setUp(self) -> None:
        """Write a file with one key of a client."""
        super().setUp()
        self.path = Path(self.mktemp())
        self.path.write_text(entry("alice", "ap-alice"))

    def status(self, key: bytes) -> int:
        """Return the status of the answer to a request with this key."""
        browser = self.ask("acme/one", b"Authorization: Bearer " + key, stream=False)
        if not browser.wire:
            self.platform.wire.says(whole(200, b'{"choices":[]}'))
        return browser.response.status

    def test_keys_file(self) -> None:
        """Keys come and go with a reload, and with the file goes the need of one."""
        self.start(keys_file=str(self.path))
        self.assertEqual([self.status(b"ap-alice"), self.status(b"ap-bob")], [200, 401])
        self.path.write_text(entry("bob", "ap-bob"))
        self.change(keys_file=str(self.path))
        self.assertEqual([self.status(b"ap-alice"), self.status(b"ap-bob")], [401, 200])
        self.change(keys_file=None)
        self.assertEqual(self.status(b"whoever"), 200)

    def test_chutes_api_keys_file(self) -> None:
        """The key that goes up is one of the new file."""
        pool = Path(self.mktemp())
        pool.write_text('[keys]\nmain = "cpk_canary_1"')
        self.start(keys_file=str(self.path), chutes_api_keys_file=str(pool))
        for key in (b"cpk_canary_1", b"cpk_canary_2"):
            pool.write_text(f'[keys]\nmain = "{key.decode()}"')
            self.change(chutes_api_keys_file=str(pool))
            self.assertEqual(self.status(b"ap-alice"), 200)
            sent = self.platform.wire.value()
            self.assertTrue(sent[sent.rindex(b"POST ") :].count(key), sent)
