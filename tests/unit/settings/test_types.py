"""Tests of the types of setting: parsing, checking, and parsing what was shown."""

from __future__ import annotations

from ipaddress import IPv6Network, ip_network
from pathlib import Path
from unittest.mock import patch

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from autopilot.settings.network import Listen, Networks, Origins, Url, split_address
from autopilot.settings.types import (
    Boolean,
    Choice,
    CountOrWord,
    Fraction,
    HashKey,
    Integer,
    Names,
    ReadableFile,
    WritableFile,
    ZeroOr,
)

names = st.text(
    st.characters(min_codepoint=33, max_codepoint=126, exclude_characters=","), min_size=1
)


class PlainKindTests(SynchronousTestCase):
    """Numbers, words, lists, files and keys."""

    @given(st.integers(-50, 50))
    def test_whole(self, number: int) -> None:
        """An integer within the limits, both inclusive, is accepted."""
        kind = Integer(-5, 5, "ms")
        if -5 <= number <= 5:
            self.assertEqual(kind.parse(kind.show(number)), number)
        else:
            self.assertIn(
                "give -5 to 5 ms", str(self.assertRaises(ValueError, kind.parse, str(number)))
            )

    def test_limit(self) -> None:
        """A limit is a number within bounds, a word for the router's choice, or for none."""
        kind = CountOrWord(1, 9, "a minute")
        for text, value in (("AUTO", "auto"), ("Off", "off"), ("9", 9)):
            self.assertEqual(kind.parse(text), value)
            self.assertEqual(kind.parse(kind.show(value)), value)
        for text in ("0", "10", "none", "1.5"):
            error = self.assertRaises(ValueError, kind.parse, text)
            self.assertIn("give auto, off or 1 to 9 a minute", str(error))

    def test_zero_or(self) -> None:
        """Zero turns a limit off that has no other value below its least."""
        kind = ZeroOr(10, 20, "ms")
        for text, value in (("0", 0), ("10", 10), ("20", 20)):
            self.assertEqual(kind.parse(text), value)
        for text in ("1", "9", "21", "-1", "off"):
            error = self.assertRaises(ValueError, kind.parse, text)
            self.assertIn("give 0 or 10 to 20 ms", str(error))
        for given_value in (False, 0.0, "0"):
            self.assertRaises(ValueError, kind.check, given_value)

    @given(st.decimals(0, 1, places=6))
    def test_share(self, number: object) -> None:
        """A plain decimal from 0 to 1 is accepted."""
        self.assertEqual(Fraction().parse(f"{number:f}"), float(str(number)))

    def test_switch(self) -> None:
        """The usual words for yes and no are accepted in any case, and no others."""
        for word in ("true", "1", "YES", "On"):
            self.assertIs(Boolean().parse(word), True)
        for word in ("false", "0", "No", "OFF"):
            self.assertIs(Boolean().parse(word), False)
        for word in ("t", "2", "enabled", "y"):
            self.assertRaises(ValueError, Boolean().parse, word)

    def test_choice(self) -> None:
        """A word is accepted in any case; the error for another lists the words."""
        kind = Choice("reject", "forward")
        self.assertEqual(kind.parse("Forward"), "forward")
        self.assertIn("reject or forward", str(self.assertRaises(ValueError, kind.parse, "no")))

    @given(st.lists(names, min_size=1, max_size=6, unique=True))
    def test_names(self, items: list[str]) -> None:
        """Names keep their order; blanks and empty items are ignored."""
        self.assertEqual(Names().parse(" , ".join(items) + ",,"), tuple(items))
        self.assertEqual(Names().parse(",".join(items * 2)), tuple(items))

    def test_file(self) -> None:
        """A file that exists is accepted."""
        self.assertEqual(ReadableFile().parse(__file__), __file__)
        self.assertRaises(ValueError, ReadableFile().parse, str(Path(__file__).parent))
        self.assertRaises(ValueError, ReadableFile().parse, "a\0b")

    def test_writable_file(self) -> None:
        """A name in a folder that is there is accepted, whether the file is there or not."""
        kind = WritableFile()
        folder = Path(self.mktemp())
        folder.mkdir()
        self.assertEqual(kind.parse(str(folder / "x")), str(folder / "x"))
        self.assertEqual(kind.show(kind.parse("x")), "x")
        self.assertIsNone(kind.check(None))
        self.assertEqual(kind.show(None), "")
        (folder / "link").symlink_to(Path("/nowhere/x"))
        wrong = (str(folder), "a\0b", str(folder / "no" / "x"), "/dev/null", str(folder / "link"))
        for text in wrong:
            self.assertIn(kind.expected, str(self.assertRaises(ValueError, kind.parse, text)))
        with patch("os.access", return_value=False):
            problem = str(self.assertRaises(ValueError, kind.parse, "x"))
        self.assertIn("is not writable", problem)

    def test_key(self) -> None:
        """A key is the text's UTF-8, at most 64 bytes."""
        self.assertEqual(HashKey().parse("ä" * 32), "ä".encode() * 32)
        self.assertRaises(ValueError, HashKey().parse, "ä" * 33)


class NetworkKindTests(SynchronousTestCase):
    """URLs, addresses, networks, origins."""

    def test_urls(self) -> None:
        """HTTP URLs with a host are accepted; a base URL loses its trailing slashes."""
        for text in (
            "http://localhost:8000",
            "https://a-b.example.",
            "http://[::1]:80/x",
            "http://10.1.2.3",
        ):
            self.assertEqual(Url(base=True).parse(text + "/"), text)
            self.assertEqual(Url().parse(text + "/"), text + "/")

    @given(st.one_of(st.ip_addresses(v=4), st.ip_addresses(v=6)), st.integers(0, 65535))
    def test_listen_addresses(self, address: object, port: int) -> None:
        """Every IPv4 and IPv6 address with a port is accepted, and split correctly."""
        text = f"[{address}]:{port}" if ":" in str(address) else f"{address}:{port}"
        self.assertEqual(Listen().parse(text), text)
        self.assertEqual(split_address(text), (str(address), port))

    def test_listen_names(self) -> None:
        """Host names and port 0 are accepted; a dash only if a port of its own is optional."""
        self.assertEqual(split_address("localhost:0"), ("localhost", 0))
        self.assertEqual(Listen(optional=True).parse("-"), "-")
        self.assertRaises(ValueError, Listen().parse, "-")
        for kind in (Listen(), Listen(optional=True)):
            self.assertRaises(ValueError, kind.check, None)

    @given(st.lists(st.ip_addresses().map(lambda each: ip_network(each)), max_size=4, unique=True))
    def test_networks(self, networks: list[object]) -> None:
        """The text shown for a list of networks parses to the same list."""
        self.assertEqual(Networks().parse(Networks().show(tuple(networks))), tuple(networks))

    def test_bare_address_is_a_network(self) -> None:
        """An address without a mask is a network of one address."""
        self.assertEqual(Networks().parse("fd00::1"), (IPv6Network("fd00::1/128"),))

    def test_origins(self) -> None:
        """Origins are converted to the form that browsers send; * allows all."""
        self.assertEqual(
            Origins().parse("*, https://Chat.example ,http://localhost:3000"),
            ("*", "https://chat.example", "http://localhost:3000"),
        )
        self.assertEqual(
            Origins().parse("https://a.example:443,http://[::1]:80,http://a:443,app://obsidian.md"),
            ("https://a.example", "http://[::1]", "http://a:443", "app://obsidian.md"),
        )
        for wrong in ("null", "https://a/", "a.example", "https://", "//a", "https://a:x", "http*"):
            self.assertRaises(ValueError, Origins().parse, wrong)
