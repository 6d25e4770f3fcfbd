"""Client keys and addresses: nobody can pass for another by what he writes into a header."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

from hypothesis import assume, given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from autopilot.routing.identity import Hasher, Trust, client_address, client_key

NETWORKS = (ip_network("10.0.0.0/8"), ip_network("fd00::/8"))
TRUST = Trust(True, NETWORKS)

proxies = st.one_of(
    st.ip_addresses(network="10.0.0.0/8"),
    st.ip_addresses(network="fd00::/8"),
)
strangers = st.ip_addresses().filter(
    lambda address: (
        not any(address in network for network in NETWORKS)
        and (address.version == 4 or address.ipv4_mapped is None)
    )
)
anything = st.text(st.characters(codec="latin-1", exclude_characters="\r\n"), max_size=30)
secrets = st.binary(max_size=100)
quick = settings(deadline=None, max_examples=200)


def _written(address: IPv4Address | IPv6Address, form: int) -> str:
    """One of the ways in which proxies write an address."""
    if isinstance(address, IPv4Address):
        return (str(address), f"{address}:8080", f"::ffff:{address}")[form]
    return (str(address), f"[{address}]:8080", address.exploded.upper())[form]


def _split(text: str, places: list[int]) -> list[str]:
    """The same list, spread over several header lines."""
    parts = text.split(",")
    lines = []
    for place in places:
        lines.append(",".join(parts[:place]))
        parts = parts[place:]
    return [*lines, ",".join(parts)]


def _key(authorization: str | None, api_key: str | None, peer: str, secret: bytes) -> bytes:
    return client_key(authorization, api_key, peer, (), Trust(), Hasher(secret))


class AddressProperties(SynchronousTestCase):
    """The address behind a chain of proxies."""

    @quick
    @given(
        anything,
        strangers,
        st.lists(proxies, max_size=4),
        proxies,
        st.lists(st.integers(0, 2), min_size=5, max_size=5),
        st.lists(st.integers(0, 3), max_size=3),
    )
    def test_a_spoofed_chain_cannot_win(
        self,
        spoofed: str,
        client: IPv4Address | IPv6Address,
        chain: list[IPv4Address | IPv6Address],
        peer: IPv4Address | IPv6Address,
        forms: list[int],
        places: list[int],
    ) -> None:
        """Whatever the client wrote first, the first stranger from the right is the client."""
        entries = [
            _written(each, form) for each, form in zip([client, *chain], forms, strict=False)
        ]
        values = _split(",".join([spoofed, *entries]), places)
        self.assertEqual(client_address(str(peer), values, TRUST), str(client))

    @quick
    @given(strangers, st.lists(anything, max_size=3))
    def test_a_stranger_is_not_believed(
        self, peer: IPv4Address | IPv6Address, values: list[str]
    ) -> None:
        """A peer that is no trusted proxy is the client, whatever it sends."""
        self.assertEqual(client_address(str(peer), values, TRUST), str(peer))

    @quick
    @given(proxies, st.lists(anything, max_size=3), st.sampled_from([Trust(), Trust(True)]))
    def test_without_trust_nobody_is_believed(
        self, peer: IPv4Address | IPv6Address, values: list[str], trust: Trust
    ) -> None:
        """No header counts while trust is off or names nobody."""
        self.assertEqual(client_address(str(peer), values, trust), str(peer))

    @quick
    @given(anything, st.lists(anything, max_size=3))
    def test_any_input_gives_an_address_or_the_peer(self, peer: str, values: list[str]) -> None:
        """Nothing raises; the answer is an address in canonical text, or the peer itself."""
        address = client_address(peer, values, TRUST)
        if address != peer:
            self.assertEqual(address, str(ip_address(address)))

    @quick
    @given(proxies, strangers, anything)
    def test_a_malformed_entry_gives_the_peer(
        self, peer: IPv4Address | IPv6Address, client: IPv4Address | IPv6Address, entry: str
    ) -> None:
        """An entry that is no address, to the right of any, makes all of them worthless."""
        assume(not any(char in entry for char in ",:."))
        assume(entry.strip(" \t"))
        values = [f"{client},{entry}"]
        self.assertEqual(client_address(str(peer), values, TRUST), str(peer))


class KeyProperties(SynchronousTestCase):
    """The hash that stands for a client."""

    @quick
    @given(anything, anything, secrets)
    def test_the_kinds_never_meet(self, one: str, other: str, secret: bytes) -> None:
        """A token, an API key and an address are three clients, whatever their texts."""
        assume(one.strip(" \t"))
        token = _key(f"Bearer {one}", None, "x", secret)
        api_key = _key(None, one, "x", secret)
        address = _key(None, None, one, secret)
        self.assertEqual(len({token, api_key, address}), 3)
        self.assertNotEqual(token, _key(None, None, other, secret))
        self.assertNotEqual(api_key, _key(None, None, other, secret))

    @quick
    @given(anything, anything, secrets)
    def test_different_tokens_are_different_clients(
        self, one: str, other: str, secret: bytes
    ) -> None:
        """Keys are equal exactly when the tokens are, less blanks around them."""
        assume(one.strip(" \t") and other.strip(" \t"))
        same = one.strip(" \t") == other.strip(" \t")
        keys = [_key(f"bearer {text}", None, "x", secret) for text in (one, other)]
        self.assertEqual(keys[0] == keys[1], same)

    @quick
    @given(
        st.one_of(st.none(), anything), st.one_of(st.none(), anything), anything, secrets, secrets
    )
    def test_a_hash_of_16_bytes_under_a_secret(
        self, authorization: str | None, api_key: str | None, address: str, one: bytes, other: bytes
    ) -> None:
        """Any header values give 16 bytes, and another secret gives others."""
        key = _key(authorization, api_key, address, one)
        self.assertEqual(len(key), 16)
        self.assertEqual(_key(authorization, api_key, address, one), key)
        if one != other:
            self.assertNotEqual(_key(authorization, api_key, address, other), key)
