"""A key is not shown, not copied, and not sent anywhere but where it was meant to go."""

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
    """What a key says of itself."""

    def test_shown(self) -> None:
        """No way to print it prints it."""
        key = Key(FAKE)
        for shown in (repr(key), str(key), f"{key}", f"{key!r}", repr([key])):
            self.assertEqual(shown.strip("[]"), "<Key>")
        self.assertFalse(hasattr(key, "__dict__"))

    def test_stored(self) -> None:
        """It can be neither pickled nor copied."""
        for store in (pickle.dumps, copy.copy, copy.deepcopy):
            self.assertRaises(TypeError, store, Key(FAKE))

    def test_parts(self) -> None:
        """The whole and all three parts, the account's id among them."""
        self.assertEqual(Key(FAKE).parts(), (FAKE, *PARTS))
        self.assertEqual(Key(f" {FAKE}\n").bearer(), f"Bearer {FAKE}")

    def test_no_key(self) -> None:
        """What has another shape is refused, and not repeated."""
        for text in ("sk-" + PARTS[0], FAKE.replace(".", "-"), FAKE + " x", "cpk_a.b.c", "é" * 40):
            with self.assertRaises(NotAKeyError) as caught:
                Key(text)
            told = "".join(traceback.format_exception(caught.exception))
            self.assertNotIn(text, told)

    def test_taken(self) -> None:
        """The environment has it no longer; an empty one is none."""
        environ = {VARIABLE: FAKE}
        self.assertIsInstance(take_key(environ), Key)
        self.assertEqual(environ, {})
        self.assertIsNone(take_key(environ))
        self.assertIsNone(take_key({VARIABLE: "  "}))

    def test_reply_shown(self) -> None:
        """What came back is not shown either."""
        reply = Reply(200, (("x-echo", FAKE),), FAKE.encode(), "whole")
        self.assertEqual(leaks(repr(reply).encode()), [])


class BaseTests(SynchronousTestCase):
    """Where a key may be sent."""

    def test_allowed(self) -> None:
        """TLS, or this machine."""
        for base in ("https://a.example", "https://a.example:8443/x", "http://127.0.0.1:1",
                     "http://localhost:1", "http://[::1]:1"):  # fmt: skip
            self.assertEqual(checked_base(base + "/"), base)

    def test_refused(self) -> None:
        """Anything that could be read on the way, or is no origin."""
        for base in ("http://a.example", "http://127.0.0.1.a.example", "ftp://127.0.0.1", "",
                     "https://", "https://user:pass@a.example", "https://a.example/?x=1",
                     "a.example", "http://10.0.0.1", "//a.example", "https://a.example/#x",
                     ):  # fmt: skip
            self.assertRaises(BadBaseError, checked_base, base)
