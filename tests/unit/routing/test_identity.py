"""Tests of a client's identity: address, key, and trusted proxies."""

from __future__ import annotations

from collections.abc import Callable
from hashlib import blake2b
from ipaddress import ip_network
from unittest.mock import patch

from twisted.trial.unittest import SynchronousTestCase

from autopilot.routing import identity
from autopilot.routing.identity import (
    Hasher,
    Trust,
    bearer_token,
    client_address,
    client_key,
    is_trusted,
    upstream_key,
)

TRUST = Trust(True, (ip_network("10.0.0.0/8"), ip_network("2001:db8::/32")))
PROXY = "10.0.0.1"


def _address(*forwarded_for: str, peer: str = PROXY, trust: Trust = TRUST) -> str:
    return client_address(peer, forwarded_for, trust)


class _CountedState:
    """The prepared state of a hash, which counts its copies."""

    def __init__(self, state: blake2b) -> None:
        self._state = state
        self.copies = 0

    def copy(self) -> blake2b:
        self.copies += 1
        return self._state.copy()


class AddressTests(SynchronousTestCase):
    """The client's address."""

    def test_without_trust_the_peer_counts(self) -> None:
        """Header fields count only if proxies are trusted and the peer is one of them."""
        self.assertEqual(_address("1.2.3.4", trust=Trust()), PROXY)
        self.assertEqual(_address("1.2.3.4", trust=Trust(False, TRUST.networks)), PROXY)
        self.assertEqual(_address("1.2.3.4", trust=Trust(True)), PROXY)
        self.assertEqual(_address("1.2.3.4", peer="192.0.2.7"), "192.0.2.7")

    def test_the_right_most_entry_that_is_not_trusted(self) -> None:
        """Trusted proxies are skipped from the right; entries left of the client never count."""
        self.assertEqual(_address("1.2.3.4"), "1.2.3.4")
        self.assertEqual(_address("6.6.6.6, 1.2.3.4"), "1.2.3.4")
        self.assertEqual(_address("6.6.6.6,1.2.3.4 ,\t10.9.9.9, 10.0.0.2"), "1.2.3.4")
        self.assertEqual(_address("10.0.0.9, 1.2.3.4, 10.0.0.2"), "1.2.3.4")

    def test_several_lines_are_one_list(self) -> None:
        """Repeated header lines are read in order, as one list."""
        self.assertEqual(_address("6.6.6.6", "1.2.3.4", "10.0.0.2"), "1.2.3.4")
        self.assertEqual(_address("1.2.3.4, 10.0.0.3", "10.0.0.2"), "1.2.3.4")

    def test_all_trusted(self) -> None:
        """If every entry is a trusted proxy, the left-most one counts."""
        self.assertEqual(_address("10.0.0.5, 10.0.0.6"), "10.0.0.5")

    def test_no_entries(self) -> None:
        """Without entries the trusted proxy itself counts as the client."""
        for values in ((), ("",), (" , ,",), ("", "\t")):
            self.assertEqual(_address(*values), PROXY, values)

    def test_empty_entries_are_skipped(self) -> None:
        """Empty list elements are ignored (RFC 9110 §5.6.1)."""
        self.assertEqual(_address("1.2.3.4,, ,10.0.0.2,"), "1.2.3.4")

    def test_a_malformed_entry_gives_the_peer(self) -> None:
        """A malformed entry on the way to the client makes the peer count."""
        for entry in (
            *("unknown", "_hidden", "1.2.3", "1.2.3.4.5", "256.1.1.1", "01.2.3.4", "host:80"),
            *("1.2.3.4:", "1.2.3.4:x", "1.2.3.4:65536", "1.2.3.4:123456", "1.2.3.4:\u0661"),
            *("[::1", "::1]", "[::1]x", "[::1]:", "[::1]:99999", "[1.2.3.4]", "[]", "[:]"),
            *("fe80::1%eth0", "[fe80::1%eth0]:80", "1.2.3.4 5.6.7.8", '"1.2.3.4"', "\u00a01.2.3.4"),
        ):
            self.assertEqual(_address(f"1.1.1.1, {entry}, 10.0.0.2"), PROXY, entry)

    def test_what_is_left_of_the_client_is_not_read(self) -> None:
        """Malformed entries left of the client have no effect."""
        self.assertEqual(_address("nonsense, 1.2.3.4"), "1.2.3.4")

    def test_ports_and_brackets(self) -> None:
        """Ports, and brackets around IPv6 addresses, are removed."""
        for entry, address in (
            ("1.2.3.4:0", "1.2.3.4"),
            ("1.2.3.4:65535", "1.2.3.4"),
            ("[::1]:123", "::1"),
            ("[::1]", "::1"),
            ("2001:DB9:0:0::1", "2001:db9::1"),
        ):
            self.assertEqual(_address(entry), address)

    def test_ipv4_written_as_ipv6_is_ipv4(self) -> None:
        """The IPv4-mapped peer of a dual-stack socket counts as the IPv4 address."""
        self.assertEqual(_address("1.2.3.4", peer="::ffff:10.0.0.1"), "1.2.3.4")
        self.assertEqual(_address(peer="::ffff:192.0.2.7"), "192.0.2.7")
        self.assertEqual(_address("1.2.3.4, ::ffff:10.0.0.2"), "1.2.3.4")
        self.assertEqual(_address("[::ffff:1.2.3.4]:80"), "1.2.3.4")

    def test_ipv6_proxies(self) -> None:
        """Trusted networks of both families are supported."""
        self.assertEqual(_address("2001:db9::5, 10.0.0.2", peer="2001:db8::1"), "2001:db9::5")
        self.assertEqual(_address("1.2.3.4", peer="2001:DB8:0::1"), "1.2.3.4")

    def test_canonical_text(self) -> None:
        """All spellings of an address yield one text."""
        self.assertEqual(_address(peer="2001:0DB8:0:0:0:0:0:1"), "2001:db8::1")

    def test_a_peer_that_is_no_ip_address(self) -> None:
        """A Unix socket path or a zoned address is returned as it is, and never trusted."""
        for peer in ("/run/autopilot.sock", "", "fe80::1%eth0"):
            self.assertEqual(_address("1.2.3.4", peer=peer), peer)
        everyone = Trust(True, (ip_network("::/0"), ip_network("0.0.0.0/0")))
        self.assertEqual(
            _address("1.2.3.4", peer="fe80::1%eth0", trust=everyone),
            "fe80::1%eth0",
        )


def _key(
    authorization: str | None = None,
    api_key: str | None = None,
    address: str = "192.0.2.1",
    hash_key: bytes = b"k",
) -> bytes:
    return client_key(authorization, api_key, address, (), Trust(), Hasher(hash_key))


class TrustTests(SynchronousTestCase):
    """Peers whose forwarding fields count."""

    def test_trusted(self) -> None:
        """A peer inside the networks, if trust is enabled; never one without an address."""
        networks = (ip_network("10.0.0.0/8"),)
        for peer, expected in (
            ("10.0.0.1", True),
            ("::ffff:10.0.0.1", True),
            ("192.0.2.1", False),
            ("", False),
            ("fe80::1%eth0", False),
        ):
            self.assertIs(is_trusted(peer, Trust(True, networks)), expected, peer)
            self.assertIs(is_trusted(peer, Trust(False, networks)), False)


class KeyTests(SynchronousTestCase):
    """The hash that stands for a client."""

    def test_sixteen_bytes(self) -> None:
        """Each kind of client gets 16 bytes, always the same."""
        for key in (_key(), _key("Bearer t"), _key(None, "t")):
            self.assertEqual(len(key), 16)
        self.assertEqual(_key("Bearer t"), _key("Bearer t"))

    def test_the_token_counts_first(self) -> None:
        """With a token neither API key nor address matters."""
        self.assertEqual(_key("Bearer t", "a", "192.0.2.1"), _key("Bearer t", None, "192.0.2.2"))
        self.assertNotEqual(_key("Bearer t"), _key("Bearer u"))

    def test_then_the_api_key(self) -> None:
        """Without a token the API key counts, and the address does not."""
        self.assertEqual(_key(None, "a", "192.0.2.1"), _key(None, " a\t", "192.0.2.2"))
        self.assertNotEqual(_key(None, "a"), _key(None, "b"))

    def test_then_the_address(self) -> None:
        """Without either the address counts."""
        self.assertNotEqual(_key(address="192.0.2.1"), _key(address="192.0.2.2"))
        self.assertEqual(_key("Basic abc", " ", "192.0.2.1"), _key(address="192.0.2.1"))

    def test_then_the_hotkey(self) -> None:
        """Without token and API key the hotkey counts; it differs from a token of the same text."""
        hasher = Hasher(b"k")

        def key(authorization: str | None, api_key: str | None, hotkey: str | None) -> bytes:
            return client_key(authorization, api_key, "192.0.2.1", (), TRUST, hasher, hotkey)

        self.assertEqual(key("Bearer t", None, "h"), _key("Bearer t"))
        self.assertEqual(key(None, "a", "h"), _key(None, "a"))
        self.assertEqual(key(None, None, ""), _key())
        found = [key(None, None, "h"), key(None, None, "g"), _key(None, "h"), _key("Bearer h")]
        self.assertEqual(len({*found, _key()}), 5)
        self.assertEqual(found[0], hasher.hotkey("h"))

    def test_the_address_is_looked_for_where_it_counts(self) -> None:
        """The address behind trusted proxies counts, and only without token and API key."""
        hasher = Hasher(b"k")
        proxied = client_key(None, None, PROXY, ["1.2.3.4, 10.0.0.2"], TRUST, hasher)
        self.assertEqual(proxied, _key(address="1.2.3.4"))
        token = client_key("Bearer t", None, PROXY, ["1.2.3.4"], TRUST, hasher)
        self.assertEqual(token, _key("Bearer t"))

    def test_a_hasher_is_used_again(self) -> None:
        """Earlier hashes do not affect later ones."""
        hasher = Hasher(b"k")
        first = [client_key("Bearer t", None, "x", (), TRUST, hasher) for _ in range(2)]
        self.assertEqual(first, [_key("Bearer t")] * 2)
        self.assertEqual(hasher.token("t"), first[0])

    def test_the_scheme_in_any_case_and_with_any_blanks(self) -> None:
        """Spelling of the scheme and blanks around the token do not matter."""
        for text in (
            "bearer t",
            "BEARER t",
            "Bearer  t",
            "Bearer\tt",
            " Bearer t ",
            "Bearer \t t",
            "Bearer \tt",
            "Bearer t\t",
        ):
            self.assertEqual(_key(text), _key("Bearer t"), text)

    def test_no_token(self) -> None:
        """Other schemes, a scheme alone and a blank token do not count as a token."""
        for text in ("", "Bearer", "Bearer ", "Bearer \t ", "t", "Basic t", "Bearert t", "Token t"):
            self.assertEqual(_key(text), _key(), text)
            self.assertEqual(_key(text, "a"), _key(None, "a"), text)

    def test_the_three_kinds_never_meet(self) -> None:
        """One text as token, API key and address identifies three clients."""
        text = "192.0.2.1"
        keys = {_key(f"Bearer {text}"), _key(None, text), _key(address=text)}
        self.assertEqual(len(keys), 3)

    def test_the_hash_key(self) -> None:
        """Another secret yields other hashes, and every byte of a secret of any length counts."""
        self.assertNotEqual(_key("Bearer t", hash_key=b"k"), _key("Bearer t", hash_key=b"l"))
        lengths = [_key("Bearer t", hash_key=b"k" * size) for size in (0, 1, 64, 65, 1000)]
        self.assertEqual(len(set(lengths)), 5)
        long = [_key("Bearer t", hash_key=b"k" * 64 + end) for end in (b"a", b"b")]
        self.assertNotEqual(*long)

    def test_the_hash_is_blake2b(self) -> None:
        """The hash is standard BLAKE2b, so that routers with one secret agree."""
        for secret in (b"k" * 64, b"k"):
            expected = blake2b(b"t", digest_size=16, key=secret, person=b"token").digest()
            self.assertEqual(_key("Bearer t", hash_key=secret), expected)
        expected = blake2b(b"a", digest_size=16, key=b"k", person=b"api-key").digest()
        self.assertEqual(_key(None, "a"), expected)
        expected = blake2b(b"192.0.2.1", digest_size=16, key=b"k", person=b"address").digest()
        self.assertEqual(_key(), expected)
        expected = blake2b(b"h", digest_size=16, key=b"k", person=b"hotkey").digest()
        self.assertEqual(Hasher(b"k").hotkey("h"), expected)

    def test_conversation(self) -> None:
        """The hash of a conversation is one of its client and its identity, in that order."""
        hasher, clients = Hasher(b"k"), (b"c" * 16, b"d" * 16)
        found = [hasher.conversation(client, text) for client in clients for text in (b"1", b"2")]
        expected = [
            blake2b(client + text, digest_size=16, key=b"k", person=b"conversation").digest()
            for client in clients
            for text in (b"1", b"2")
        ]
        self.assertEqual(found, expected)
        self.assertEqual(hasher.conversation(clients[0], b"1"), expected[0])

    def test_recent_conversations_are_not_hashed_again(self) -> None:
        """A repeated conversation is looked up; the table forgets all when it is full."""
        hasher = Hasher(b"k")
        state = _CountedState(hasher._conversation)
        hasher._conversation = state  # type: ignore[assignment]
        self.check_kept(lambda number: hasher.conversation(b"client", b"%d" % number), state)
        self.assertEqual(len(hasher._conversations), 2)

    def test_recent_tokens_are_not_hashed_again(self) -> None:
        """A repeated token is looked up as well."""
        hasher = Hasher(b"k")
        state = _CountedState(hasher._token)
        hasher._token = state  # type: ignore[assignment]
        self.check_kept(lambda number: hasher.token(f"token {number}"), state)
        self.assertEqual(len(hasher._tokens), 2)

    def check_kept(self, hashed: Callable[[int], bytes], state: _CountedState) -> None:
        """Check that the hashes of 4,096 values are kept, and that one more clears the table."""
        wanted = hashed(0)
        self.assertEqual([hashed(0) for _ in range(3)], [wanted] * 3)
        self.assertEqual(state.copies, 1)
        self.assertEqual(len({hashed(number) for number in range(4096)}), 4096)
        self.assertEqual((hashed(0), state.copies), (wanted, 4096))
        hashed(4096)
        self.assertEqual((hashed(0), state.copies), (wanted, 4098))

    def test_the_holder_of_a_field(self) -> None:
        """A whole field has the identity of its token, each time; one without a token has none."""
        hasher, token = Hasher(b"k"), Hasher(b"k").token("t")
        for field in (b"Bearer t", b"Bearer t", b" bearer\t t "):
            self.assertEqual(hasher.holder(field), token, field)
        for field in (b"t", b"Bearer", b"Bearer  ", b"Basic t", b""):
            self.assertIsNone(hasher.holder(field), field)
        self.assertNotEqual(hasher.holder(b"Bearer T"), token)
        # An API key may spell a whole field.
        self.assertNotEqual(hasher.token("Bearer u"), hasher.holder(b"Bearer u"))
        self.assertEqual(hasher.holder(b"Bearer u"), hasher.token("u"))

    def test_a_recent_field_is_not_read_again(self) -> None:
        """A field that was sent lately is found by itself; any bytes may be one."""
        hasher = Hasher(b"k")
        with patch.object(identity, "bearer_token", wraps=bearer_token) as read:
            first = hasher.holder(b"Bearer \xfft")
            self.assertEqual(hasher.holder(b"Bearer \xfft"), first)
            self.assertEqual(read.call_count, 1)
            self.assertNotEqual(hasher.holder(b"Bearer u"), first)
            self.assertEqual(read.call_count, 2)
        self.assertEqual(first, hasher.token("\xfft"))

    def test_a_token_of_several_words(self) -> None:
        """The whole token counts, inner blanks included."""
        self.assertNotEqual(_key("Bearer a b c"), _key("Bearer a b d"))
        self.assertNotEqual(_key("Bearer a b c"), _key("Bearer x b c"))

    def test_only_blanks_are_trimmed(self) -> None:
        """Only blanks are trimmed from a token or a key."""
        for scheme in ("Bearer", "bearer", "Bearer "):
            self.assertNotEqual(_key(f"{scheme} XtX"), _key("Bearer t"))
            for blank in ("\xa0", "\x0b", "\n"):
                self.assertNotEqual(_key(f"{scheme} {blank}t"), _key("Bearer t"))
                self.assertNotEqual(_key(f"{scheme} t{blank}"), _key("Bearer t"))
        self.assertNotEqual(_key(None, "XaX"), _key(None, "a"))
        for blank in ("\xa0", "\x0b", "\n"):
            self.assertNotEqual(_key(None, f"{blank}a"), _key(None, "a"))
            self.assertEqual(_key(f"{blank}Bearer t"), _key())

    def test_any_text_can_be_hashed(self) -> None:
        """Non-ASCII header values, lone surrogates included, can be hashed."""
        self.assertNotEqual(_key("Bearer \udc80"), _key("Bearer \udc81"))
        self.assertNotEqual(_key("Bearer é"), _key("Bearer e"))
        self.assertNotEqual(_key(None, "\udc80"), _key(None, "\udc81"))


class UpstreamKeyTests(SynchronousTestCase):
    """The key by which the platform counts a request."""

    def test_same_key(self) -> None:
        """The last word of the field counts, whatever the scheme, in whichever field it comes."""
        hasher = Hasher(b"k")
        key = upstream_key("Bearer cpk_1", None, None, hasher)
        for authorization, api_key in (
            ("cpk_1", None),
            ("  basic \t cpk_1 ", "other"),
            (None, " cpk_1 "),
            ("Bearer", "cpk_1"),
        ):
            self.assertEqual(upstream_key(authorization, api_key, None, hasher), key)
        self.assertNotEqual(upstream_key("Bearer cpk_2", None, None, hasher), key)
        # Only blanks and tabs may stand around the value of a field.
        self.assertNotEqual(upstream_key(None, "cpk_1\xa0", None, hasher), key)

    def test_others(self) -> None:
        """A hotkey is a key of another kind; without any there is none."""
        hasher = Hasher(b"k")
        hotkey = upstream_key(None, "", "cpk_1", hasher)
        self.assertNotIn(hotkey, (b"", upstream_key("cpk_1", None, None, hasher)))
        self.assertEqual(upstream_key("", " ", None, hasher), b"")
        self.assertEqual(upstream_key(None, None, None, hasher), b"")
        self.assertEqual(upstream_key("Bearer", None, "cpk_1", hasher), hotkey)
