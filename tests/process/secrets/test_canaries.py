"""The scanner finds planted secrets in every form, and nothing else."""

from __future__ import annotations

import base64
import hashlib
import html
import json
import uuid
from urllib.parse import quote

from twisted.trial.unittest import SynchronousTestCase

from autopilot.routing.identity import Hasher
from tests.process.secrets.canaries import (
    Canary,
    Scanner,
    base64_forms,
    canary,
    encodings,
    loopback,
)

KEY = b"a key of the test"


def around(text: str) -> bytes:
    """Return a log line with this text in its middle."""
    return b"2026-01-01T00:00:00.000Z info x: before " + text.encode() + b" after\n"


class ScannerTests(SynchronousTestCase):
    """Planted secrets."""

    def setUp(self) -> None:
        """Create canaries and a scanner."""
        self.token = canary("token")
        self.prompt = canary("prompt", 'say "{}"\n\u00e9')
        self.address = loopback("address")
        self.scanner = Scanner((self.token, self.prompt, self.address), (KEY,))

    def assert_found(self, output: bytes, kind: str) -> None:
        """Assert that the scanner finds this kind."""
        found = self.scanner.found(output)
        self.assertTrue(found, output)
        self.assertTrue(any(each.startswith(kind) for each in found), found)

    def test_nothing(self) -> None:
        """Harmless text gives no finding, however long it is."""
        other = Scanner((canary("token"),), (b"other",))
        text = "\n".join(
            f"{uuid.uuid4()} {hashlib.sha256(b'%d' % n).hexdigest()}" for n in range(999)
        )
        for scanner in (self.scanner, other):
            self.assertEqual(scanner.found(around(text)), [])
        self.assertEqual(other.found(around(self.token.text)), [])

    def test_as_it_is(self) -> None:
        """The text itself is found in any case, at both ends and in the middle."""
        for text in (self.token.text, self.token.text.upper(), self.token.core):
            self.assert_found(around(text), "token")
            self.assert_found(text.encode(), "token")
        self.assert_found(around(self.address.text), "address")

    def test_cut(self) -> None:
        """Any fifteen of its letters suffice."""
        core = self.token.core
        for start in range(len(core) - 14):
            self.assert_found(around(core[start : start + 15]), "token")

    def test_quoted(self) -> None:
        """The text is found as quoted by URLs, JSON, Python and HTML."""
        for each in (self.token, self.prompt):
            for quoted in (
                quote(each.text, safe=""),
                json.dumps(each.text),
                repr(each.text),
                ascii(each.text.encode()),
                html.escape(each.text),
            ):
                self.assert_found(around(quoted), each.kind)

    def test_encoded(self) -> None:
        """The text and its parts are found in every encoding that the scanner knows."""
        for each in (self.token, self.address):
            for text in (each.core, f"x{each.core}y"):
                for _, form in encodings(text):
                    self.assert_found(b"a " + form + b" b", each.kind)
                    self.assert_found(b"a " + form.upper() + b" b", each.kind)

    def test_base64(self) -> None:
        """The text is found in Base64 at any offset."""
        for before in range(7):
            for encode in (base64.b64encode, base64.urlsafe_b64encode):
                data = b"Bearer "[:before] + self.token.text.encode() + b"!"
                self.assert_found(b"x" + encode(data), "token")
        self.assertEqual(len(set(base64_forms(self.token.core))), 3)

    def test_digests(self) -> None:
        """Digests are found, whole or truncated, including the router's keyed one."""
        text = self.token.text
        for digest in (
            hashlib.sha256(text.encode()).digest(),
            hashlib.sha256(b"Bearer " + text.encode()).digest(),
            hashlib.blake2b(text.encode()).digest(),
            hashlib.blake2b(text.encode(), digest_size=16).digest(),
            Hasher(KEY).token(text),
            Hasher(KEY).api_key(text),
        ):
            for form in (
                digest.hex(),
                digest.hex()[:16].upper(),
                repr(digest[:8]),
                base64.b64encode(digest).decode(),
                base64.urlsafe_b64encode(digest).decode(),
            ):
                self.assert_found(around(form), "token, its")
            self.assert_found(b"\0" + digest + b"\0", "token, its")
        self.assert_found(around(Hasher(KEY).address(self.address.text).hex()), "address, its")
        self.assertEqual(self.scanner.found(around(Hasher(b"other").token(text).hex())), [])

    def test_surroundings(self) -> None:
        """A finding shows its context, so that the leak can be located."""
        self.assertIn("info x: before", self.scanner.found(around(self.token.text))[0])


class CanaryTests(SynchronousTestCase):
    """The canaries themselves."""

    def test_made_anew(self) -> None:
        """Every canary is different, and visibly fake."""
        several = [canary("key") for _ in range(100)]
        self.assertEqual(len({each.core for each in several}), 100)
        self.assertTrue(all(each.text == f"canary-key-{each.core}" for each in several))
        self.assertTrue(loopback("peer").text.startswith("127."))
        self.assertIsInstance(several[0], Canary)
