"""A key is not printed, not copied, and sent only to its destination."""

from __future__ import annotations

import copy
import pickle
import traceback

from twisted.trial.unittest import SynchronousTestCase

from tests.rigs.live.caller import BadBaseError, checked_base
from tests.rigs.live.fixtures import FAKE, PARTS, leaks
from tests.rigs.live.key import VARIABLE, Key, NotAKeyError, take_key
from tests.rigs.live.reply import Reply


class KeyTests(SynchronousTestCase):
    """The representations of a key."""

    def test_shown(self) -> None:
        """No conversion to text contains the key."""
        key = Key(FAKE)
        for shown in (repr(key), str(key), f"{key}", f"{key!r}", repr([key])):
            self.assertEqual(shown.strip("[]"), "<Key>")
        self.assertFalse(hasattr(key, "__dict__"))

    def test_stored(self) -> None:
        """A key can be neither pickled nor copied."""
        for store in (pickle.dumps, copy.copy, copy.deepcopy):
            self.assertRaises(TypeError, store, Key(FAKE))

    def test_parts(self) -> None:
        """The parts are the whole key and its three parts, including the account id."""
        self.assertEqual(Key(FAKE).parts(), (FAKE, *PARTS))
        self.assertEqual(Key(f" {FAKE}\n").bearer(), f"Bearer {FAKE}")

    def test_no_key(self) -> None:
        """A value in another format is refused, and not quoted."""
        for text in ("sk-" + PARTS[0], FAKE.replace(".", "-"), FAKE + " x", "cpk_a.b.c", "é" * 40):
            with self.assertRaises(NotAKeyError) as caught:
                Key(text)
            told = "".join(traceback.format_exception(caught.exception))
            self.assertNotIn(text, told)

    def test_taken(self) -> None:
        """Taking the key removes it from the environment; an empty value counts as missing."""
        environ = {VARIABLE: FAKE}
        self.assertIsInstance(take_key(environ), Key)
        self.assertEqual(environ, {})
        self.assertIsNone(take_key(environ))
        self.assertIsNone(take_key({VARIABLE: "  "}))

    def test_reply_shown(self) -> None:
        """A reply is not printed either."""
        reply = Reply(200, (("x-echo", FAKE),), FAKE.encode(), "whole")
        self.assertEqual(leaks(repr(reply).encode()), [])


class BaseTests(SynchronousTestCase):
    """The hosts to which a key may be sent."""

    def test_allowed(self) -> None:
        """https, and this machine, are allowed."""
        for base in ("https://a.example", "https://a.example:8443/x", "http://127.0.0.1:1",
                     "http://localhost:1", "http://[::1]:1"):  # fmt: skip
            self.assertEqual(checked_base(base + "/"), base)

    def test_refused(self) -> None:
        """Unencrypted addresses, and URLs that are not origins, are refused."""
        for base in ("http://a.example", "http://127.0.0.1.a.example", "ftp://127.0.0.1", "",
                     "https://", "https://user:pass@a.example", "https://a.example/?x=1",
                     "a.example", "http://10.0.0.1", "//a.example", "https://a.example/#x",
                     ):  # fmt: skip
            self.assertRaises(BadBaseError, checked_base, base)
