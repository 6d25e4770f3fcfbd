"""Hashes of clients: keyed, the only thing stored, and equal for equal keys."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from autopilot import AutopilotService, Settings
from autopilot.request.body import ParsedBody, parse_body
from autopilot.request.conversation_id import conversation_id
from autopilot.routing.identity import Hasher
from autopilot.routing.selector import Mode, Order, selector_of
from autopilot.settings import SettingsError
from autopilot.state.affinity import AffinityKey
from tests.process.secrets.objects import texts
from tests.unit.relay.upstreams import JSON, whole
from tests.unit.service.platforms import ServiceTestCase
from tests.unit.web.browsers import ask, request

ROOT = Path(__file__).resolve().parent.parent.parent
_BODY = ask(messages=[{"role": "user", "content": "a question"}])
_PROGRAM = (
    "import sys; from autopilot.routing.identity import Hasher;"
    "print(Hasher(sys.argv[1].encode()).token(sys.argv[2]).hex())"
)


class TableTests(ServiceTestCase):
    """The table of clients in a router."""

    def remembered(self, key: bytes | None, *fields: bytes) -> list[AffinityKey]:
        """Return what a router with this key stores about clients with these fields."""
        service = self.running(sticky_hash_key=key)
        browser = self.browser(-1)
        for each in fields:
            browser.sends(request(b"/v1/chat/completions", each, body=_BODY))
            self.platform.wire.says(whole(200, b"{}", JSON, b"Connection: close"))
            self.reactor.advance(0)
        browser.leaves()
        keys = list(service._parts.tables.affinity._entries)
        self.assert_only_hashes(service, fields)
        self.successResultOf(service.stopService())
        self.assert_at_rest()
        return keys

    def assert_only_hashes(self, service: AutopilotService, fields: tuple[bytes, ...]) -> None:
        """Check that the table contains digests of 16 bytes only."""
        stickiness = service._parts.tables.affinity
        selector = selector_of("chutesai/AutoPilot", Mode.ALIAS, (), Order.GIVEN)
        for client, selected, conversation in stickiness._entries:
            self.assertEqual((type(client), len(client)), (bytes, 16))
            self.assertEqual((type(conversation), len(conversation)), (bytes, 16))
            self.assertEqual(selected, selector.key)
            self.assertEqual(len(selected), 16)
        held = b"\n".join(texts(stickiness))
        for each in (*fields, b"192.0.2.7", b"question"):
            self.assertNotIn(each.split(b" ")[-1], held)

    def test_same_key(self) -> None:
        """Routers with the same key compute equal hashes, so that they can share clients."""
        fields = (
            b"Authorization: Bearer some-token",
            b"X-Api-Key: some-key",
            b"X-None: nothing",
        )
        first, second = (self.remembered(b"one key", *fields) for _ in range(2))
        self.assertEqual(first, second)
        self.assertEqual(len(set(first)), 3)

    def test_other_keys(self) -> None:
        """Routers with different keys, or without one, compute different hashes."""
        fields = (
            b"Authorization: Bearer some-token",
            b"X-Api-Key: some-key",
            b"X-None: nothing",
        )
        keys = b"one key", b"one kez", None, None
        found = [each for key in keys for each in self.remembered(key, *fields)]
        self.assertEqual(len(set(found)), len(keys) * len(fields))

    def test_no_key_is_the_empty_key(self) -> None:
        """Without a key, a random one is used, so that hashes cannot be computed from outside."""
        (client, _selector, conversation), *_ = self.remembered(
            None, b"Authorization: Bearer some-token"
        )
        body = parse_body(_BODY)
        assert isinstance(body, ParsedBody)
        said = conversation_id({}, body.fields)
        for guess in (b"", b"\0" * 32, b"None"):
            self.assertNotEqual(client, Hasher(guess).token("some-token"))
            self.assertNotEqual(conversation, Hasher(guess).conversation(client, said))


class ProcessTests(SynchronousTestCase):
    """The hash does not depend on the process."""

    def test_processes_agree(self) -> None:
        """Two processes with the same key and different hash seeds compute equal hashes."""
        found = {
            subprocess.run(
                (sys.executable, "-c", _PROGRAM, "one key", "some-token"),
                env={**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": str(ROOT)},
                capture_output=True,
                check=True,
                text=True,
            ).stdout.strip()
            for seed in ("1", "2")
        }
        self.assertEqual(found, {Hasher(b"one key").token("some-token").hex()})


class SettingTests(SynchronousTestCase):
    """Valid keys."""

    def test_length(self) -> None:
        """A key has 1 to 64 bytes; a short key is safe, because hashes never leave the process."""
        for size in (1, 63, 64):
            self.assertEqual(Settings(sticky_hash_key=b"k" * size).sticky_hash_key, b"k" * size)
        for size in (0, 65):
            with self.assertRaises(SettingsError) as caught:
                Settings(sticky_hash_key=b"k" * size)
            self.assertNotIn("kk", str(caught.exception))
