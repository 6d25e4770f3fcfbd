"""Tests of the hosts in URLs: the settings accept exactly those that Twisted can connect to."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from service_identity.hazmat import DNS_ID
from twisted.internet.abstract import isIPAddress, isIPv6Address
from twisted.internet.endpoints import HostnameEndpoint
from twisted.internet.ssl import optionsForClientTLS
from twisted.internet.testing import MemoryReactorClock
from twisted.trial.unittest import SynchronousTestCase

from autopilot.settings import Settings, SettingsError
from autopilot.settings.network import Url
from autopilot.upstream.pool import Origin

URLS = (
    "BACKEND_BASE_URL",
    "MESSAGES_BASE_URL",
    "RESPONSES_BASE_URL",
    "MODELS_URL",
    "UTILIZATION_URL",
    "API_BASE_URL",
)
ACCEPTED = (
    "example.com",
    "EXAMPLE.com.",
    "localhost",
    "a--b.example",
    "1a.example",
    "a.1",
    f"{'a' * 63}.example",
    ".".join(["a" * 60] * 4),
    "xn--mnchen-3ya.example",
    "XN--MNCHEN-3YA.example",
    "xn--fa-hia.example",
    "10.1.2.3",
    "[::1]",
    "[2001:DB8::1]",
    "[::ffff:192.0.2.1]",
)
REFUSED = (
    "my_backend.internal",
    "_x.example",
    f"{'a' * 64}.example",
    "-a.example",
    "a-.example",
    "a.-b.example",
    "a.b-.example",
    "ab--cd.example",
    "a---b.example",
    "xn--zzzzzzzzz.example",
    "xn--a.example",
    "xn--.example",
    "a..example",
    "a.example..",
    ".".join(["a" * 63] * 4),
    "m\u00fcnchen.example",
)
labels = st.text("abcn01-_x", min_size=1, max_size=7) | st.from_regex(r"\Axn--[a-z0-9-]{1,12}\Z")


def connectable(url: str) -> bool:
    """Return whether Twisted accepts the URL's host for a connection and, with https, for TLS."""
    origin = Origin.of(url)
    address = isIPAddress(origin.host) or isIPv6Address(origin.host)
    try:
        if origin.secure:
            optionsForClientTLS(origin.host)
            if not address:
                DNS_ID(origin.host)
    except ValueError:
        return False
    return address or not HostnameEndpoint(MemoryReactorClock(), origin.host, 443)._badHostname


class HostTests(SynchronousTestCase):
    """Hosts in URLs."""

    def test_accepted(self) -> None:
        """Names, addresses and names in IDNA's ASCII form are accepted, and make a TLS context."""
        for host in ACCEPTED:
            for scheme in ("http", "https"):
                url = f"{scheme}://{host}:8443/v1"
                self.assertEqual(Url().parse(url), url)
                self.assertTrue(connectable(url), url)

    def test_refused(self) -> None:
        """The settings reject a host that Twisted would reject at the first request."""
        for host in REFUSED:
            for scheme in ("http", "https"):
                self.assertRaises(ValueError, Url().parse, f"{scheme}://{host}/v1")

    def test_number(self) -> None:
        """The resolver takes a number for an address, but TLS cannot verify it as a name."""
        self.assertEqual(Url().parse("http://2130706433"), "http://2130706433")
        self.assertTrue(connectable("http://2130706433"))
        self.assertRaises(ValueError, Url().parse, "https://2130706433")
        self.assertFalse(connectable("https://2130706433"))

    def test_names_the_setting(self) -> None:
        """The error names each setting in one line, with the remedy."""
        given = {name.lower(): "https://my_backend.internal/v1" for name in URLS}
        refused = self.assertRaises(SettingsError, Settings, **given)
        self.assertEqual([each.partition(":")[0] for each in refused.problems], list(URLS))
        self.assertEqual(
            refused.problems[0],
            "BACKEND_BASE_URL: 'https://my_backend.internal/v1' names a host that the router"
            " cannot connect to; give an address, or a name of letters, digits and hyphens, at"
            " most 63 between dots",
        )

    @given(st.sampled_from(("http", "https")), st.lists(labels, min_size=1, max_size=3))
    def test_as_twisted_does(self, scheme: str, parts: list[str]) -> None:
        """The settings and Twisted accept the same hosts."""
        url = f"{scheme}://{'.'.join(parts)}"
        try:
            Url().parse(url)
        except ValueError:
            self.assertFalse(connectable(url), url)
        else:
            self.assertTrue(connectable(url), url)
