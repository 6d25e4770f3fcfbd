"""Client identities: no client can assume another's by the fields it sends."""

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
    """Return an address in one of the formats of proxies."""
    if isinstance(address, IPv4Address):
        return (str(address), f"{address}:8080", f"::ffff:{address}")[form]
    return (str(address), f"[{address}]:8080", address.exploded.upper())[form]


def _split(text: str, places: list[int]) -> list[str]:
    """Return the same list, split over several header lines."""
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
        """The right-most untrusted address is the client, whatever the client sent."""
        entries = [
            _written(each, form) for each, form in zip([client, *chain], forms, strict=False)
        ]
        values = _split(",".join([spoofed, *entries]), places)
        self.assertEqual(client_address(str(peer), values, TRUST), str(client))

    @quick
    @given(strangers, st.lists(anything, max_size=3))
    def test_an_untrusted_peer_is_the_client(
        self, peer: IPv4Address | IPv6Address, values: list[str]
    ) -> None:
        """An untrusted peer is the client, whatever it sends."""
        self.assertEqual(client_address(str(peer), values, TRUST), str(peer))

    @quick
    @given(proxies, st.lists(anything, max_size=3), st.sampled_from([Trust(), Trust(True)]))
    def test_without_trust_no_field_counts(
        self, peer: IPv4Address | IPv6Address, values: list[str], trust: Trust
    ) -> None:
        """No field counts if trust is off or has no network."""
        self.assertEqual(client_address(str(peer), values, trust), str(peer))

    @quick
    @given(anything, st.lists(anything, max_size=3))
    def test_any_input_gives_an_address_or_the_peer(self, peer: str, values: list[str]) -> None:
        """The result is an address in canonical text, or the peer itself."""
        address = client_address(peer, values, TRUST)
        if address != peer:
            self.assertEqual(address, str(ip_address(address)))

    @quick
    @given(proxies, strangers, anything)
    def test_a_malformed_entry_gives_the_peer(
        self, peer: IPv4Address | IPv6Address, client: IPv4Address | IPv6Address, entry: str
    ) -> None:
        """A malformed entry on the path makes the peer the client."""
        assume(not any(char in entry for char in ",:."))
        assume(entry.strip(" \t"))
        values = [f"{client},{entry}"]
        self.assertEqual(client_address(str(peer), values, TRUST), str(peer))


class KeyProperties(SynchronousTestCase):
    """The hash of a client."""

    @quick
    @given(anything, anything, secrets)
    def test_the_kinds_never_meet(self, one: str, other: str, secret: bytes) -> None:
        """A token, an API key and an address are different clients, even with equal text."""
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
        """Hashes are equal exactly if the tokens are, without surrounding blanks."""
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
        """Any field values give 16 bytes, and another secret gives others."""
        key = _key(authorization, api_key, address, one)
        self.assertEqual(len(key), 16)
        self.assertEqual(_key(authorization, api_key, address, one), key)
        if one != other:
            self.assertNotEqual(_key(authorization, api_key, address, other), key)
