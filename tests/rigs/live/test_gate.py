"""The gate rejects every part of a key, in every encoding."""

from __future__ import annotations

import base64
import html
import json
import urllib.parse
import uuid
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from tests.rigs.live.encodings import ACCOUNT, ENCODINGS, SECRETS
from tests.rigs.live.fixtures import FAKE, PARTS
from tests.rigs.live.gate import Gate, LeakError
from tests.rigs.live.key import Key


class KeyTests(SynchronousTestCase):
    """The key, its parts, and the account id."""

    def setUp(self) -> None:
        """Create a gate that knows the fake key."""
        self.folder = Path(self.mktemp())
        self.gate = Gate(Key(FAKE), self.folder)

    def refused(self, data: bytes) -> bool:
        """Return whether the data are refused, without being written or quoted."""
        try:
            self.gate.write("name.json", data)
        except LeakError as leak:
            self.assertFalse((self.folder / "name.json").exists())
            self.assertIn("name.json", str(leak))
            self.assertFalse(any(part in str(leak) for part in SECRETS))
            return True
        (self.folder / "name.json").unlink()
        return False

    def test_every_way(self) -> None:
        """Each secret is found in each encoding, alone and within other data."""
        for secret in SECRETS:
            for way, write in ENCODINGS.items():
                data = f'{{"text": "before {write(secret)} after"}}'.encode()
                self.assertTrue(self.refused(data), f"{secret} {way}")

    def test_a_quarter_of_it(self) -> None:
        """Any eight consecutive characters of a secret are recognized."""
        for part in PARTS:
            for start in range(len(part) - 7):
                self.assertTrue(self.refused(b"cut: " + part[start : start + 8].encode()), start)

    def test_account_as_uuid(self) -> None:
        """The account id is recognized as a UUID and as its bytes."""
        account = uuid.UUID(ACCOUNT)
        for form in (
            str(account), str(account).upper(), account.urn, f"{{{account}}}", str(account.int),
            base64.b64encode(account.bytes).decode(), account.bytes_le.hex(),
            base64.urlsafe_b64encode(b"user" + account.bytes).decode(),
        ):  # fmt: skip
            self.assertTrue(self.refused(form.encode()), form)

    def test_names_of_files(self) -> None:
        """A file's name must not contain a secret either."""
        self.assertRaises(LeakError, self.gate.write, f"{ACCOUNT}.json", b"{}")

    def test_what_is_harmless(self) -> None:
        """Ordinary contents of a capture pass."""
        for text in (
            '{"$.choices[].delta.content": "string of 6..95", "header x-chutes-rl-user": "absent"}',
            "text/event-stream; charset=utf-8", "<redacted hexadecimal, 64 characters>",
            "# Live check of 2026-11-23\n\n39 calls in 3 s", "completed_requests_15m 1771393400",
            "a bearer that is neither key nor JWT", "age of the newest 401052 min",
        ):  # fmt: skip
            self.assertFalse(self.refused(text.encode()), text)

    @given(
        st.sampled_from(SECRETS),
        st.lists(st.sampled_from(sorted(ENCODINGS)), min_size=1, max_size=1),
        st.binary(max_size=60), st.binary(max_size=60),
    )  # fmt: skip
    def test_among_anything(
        self, secret: str, ways: list[str], before: bytes, after: bytes
    ) -> None:
        """No surrounding text hides a secret."""
        text = secret
        for way in ways:
            text = ENCODINGS[way](text)
        with self.assertRaises(LeakError):
            self.gate.inspect("anything", before + b" " + text.encode() + b" " + after)


class NotedTests(SynchronousTestCase):
    """Values that the run has classified as secret."""

    def setUp(self) -> None:
        """Create a gate without a key, but with a text of its own."""
        self.gate = Gate(None, Path(self.mktemp()), "the scenario late-2026 of the run")

    def refused(self, text: str) -> bool:
        """Return whether the data are refused."""
        try:
            self.gate.inspect("name", text.encode())
        except LeakError:
            return True
        return False

    def test_noted(self) -> None:
        """A noted value is refused in every file, in upper and lower case."""
        self.assertFalse(self.refused("an Inv-17x-Zq9 id"))
        self.gate.note("inv-17x-zq9")
        self.assertTrue(self.refused("an Inv-17x-Zq9 id"))
        self.assertFalse(self.refused("an Inv-17x-Zq8 id"))

    def test_long_ones(self) -> None:
        """Of a long value the beginning and the end are recognized."""
        value = "".join(f"{number:02x}g" for number in range(200))
        self.gate.note(value)
        self.assertTrue(self.refused(f"… {value[:64]} …"))
        self.assertTrue(self.refused(f"… {value[-64:]} …"))

    def test_own_words(self) -> None:
        """A text of the run does not become secret because a response repeats it."""
        self.gate.note("late-2026")
        self.gate.note("404")
        self.assertFalse(self.refused("late-2026, 404"))

    def test_patterns(self) -> None:
        """Values that look like a secret are refused, whoever owns them."""
        for text in (
            "key cpk_x", "CAK_abc", "Authorization: Bearer abc123def", "eyJhbGciOi.x",
            str(uuid.UUID(int=7**40)), uuid.UUID(int=7**40).hex,
            "to 5" + "FHneW46xGXgs5m" * 3 + "abcde",
            "me@mail.example", "from 203.0.113.9", "from 2001:db8:0:0:0:0:0:1", "from fe80::1",
            "run " + "a1q" * 8, "b64 " + "Zm9vYmFy1" * 4,
        ):  # fmt: skip
            self.assertTrue(self.refused(text), text)


class EntitiesTests(SynchronousTestCase):
    """The encodings that the tests use can all be decoded."""

    def test_undone(self) -> None:
        """Common decoders undo some of them."""
        self.assertEqual(html.unescape(ENCODINGS["entities"](FAKE)), FAKE)
        self.assertEqual(urllib.parse.unquote(ENCODINGS["percent"](FAKE)), FAKE)
        self.assertEqual(json.loads('"' + ENCODINGS["JSON escapes"](FAKE) + '"'), FAKE)
        self.assertEqual(base64.b64decode(ENCODINGS["base64"](FAKE)).decode(), FAKE)
