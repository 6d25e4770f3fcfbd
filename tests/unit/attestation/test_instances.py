"""Tests of the platform's answer to discovery."""

from __future__ import annotations

import json
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from autopilot.attestation.instances import (
    MAX_KEY_CHARACTERS,
    DiscoveredInstance,
    DiscoveryError,
    parse_discovery,
)
from tests.unit.attestation.platform import INSTANCES, Platform

ID, OTHER = INSTANCES["A"], INSTANCES["B"]


def entry(**members: Any) -> dict[str, Any]:
    """Return one instance, with other members."""
    return {"instance_id": ID, "e2e_pubkey": "key", "nonces": ["abcd_-12"]} | members


def parsed(*entries: object, **members: Any) -> Any:
    """Return the result of an answer."""
    return parse_discovery(json.dumps({"instances": entries, **members}).encode())


class DiscoveryTests(SynchronousTestCase):
    """Instances, keys and nonces."""

    def test_answer(self) -> None:
        """The platform's answer is read, and its nonces last five seconds less than it states."""
        found = parse_discovery(json.dumps(Platform().discovery()).encode())
        self.assertEqual([each.instance_id for each in found.instances], [ID, OTHER])
        self.assertEqual(found.instances[0].nonces, ("nonce-A-0", "nonce-A-1"))
        self.assertEqual(found.seconds, 55)

    def test_seconds(self) -> None:
        """Nonces never last longer than usual, whatever is stated."""
        for stated, seconds in ((60, 55), (20, 15), (5, 0), (1, 0), (-1, 0), (9e9, 55), (None, 55)):
            self.assertEqual(parsed(nonce_expires_in=stated).seconds, seconds)
        self.assertEqual(parsed().seconds, 55)

    def test_left_out(self) -> None:
        """An instance that cannot be used is left out, and one that is listed twice counts once."""
        bad = (
            None,
            1,
            entry(instance_id=None),
            entry(instance_id="../x"),
            entry(instance_id=ID + "\n"),
            entry(e2e_pubkey=5),
            entry(e2e_pubkey="k" * (MAX_KEY_CHARACTERS + 1)),
            entry(nonces="abcdefgh"),
            {"instance_id": OTHER},
        )
        found = parsed(*bad, entry(), entry(e2e_pubkey="other"))
        self.assertEqual(found.instances, (DiscoveredInstance(ID, "key", ("abcd_-12",)),))

    def test_nonces(self) -> None:
        """A nonce that no header could have is left out, and a repeated one counts once."""
        nonces = [
            "abcdefgh",
            "abcdefgh",
            "short",
            "line\r\nend",
            "blank blank",
            "x" * 129,
            "ÄÖÜÄÖÜÄÖ",
        ]
        self.assertEqual(parsed(entry(nonces=nonces)).instances[0].nonces, ("abcdefgh",))
        without = {"instance_id": ID, "e2e_pubkey": "key"}
        self.assertEqual(parsed(without).instances[0].nonces, ())
        many = [f"nonce-{place:04}" for place in range(300)]
        self.assertEqual(len(parsed(entry(nonces=many)).instances[0].nonces), 256)

    def test_many(self) -> None:
        """No more than 64 instances are read."""
        ids = [f"{place:08x}{ID[8:]}" for place in range(70)]
        found = parsed(*(entry(instance_id=each) for each in ids))
        self.assertEqual([each.instance_id for each in found.instances], ids[:64])

    def test_unreadable(self) -> None:
        """Anything else is an error."""
        for body in (b"", b"[]", b"{}", b'{"instances":1}', b"\xff", b"[" * 5000):
            with self.assertRaisesRegex(DiscoveryError, "^not a list of instances$"):
                parse_discovery(body)

    def test_repr(self) -> None:
        """The representation shows neither key nor nonces."""
        self.assertEqual(
            repr(parsed(entry()).instances[0]), f"DiscoveredInstance({ID[:8]}, 1 nonces)"
        )
