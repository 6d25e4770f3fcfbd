"""Tests of the choice of a proxy: one table of servers for each form of exemption."""

from __future__ import annotations

from base64 import b64decode

from twisted.trial.unittest import SynchronousTestCase

from autopilot.http.forward_proxy import DIRECT, ForwardProxy, ProxyRules

SECURE = ForwardProxy("secure.test", 3128)
PLAIN = ForwardProxy("plain.test", 8080)

# An exemption, the servers that it covers, and servers that it does not cover.
EXEMPTIONS: tuple[tuple[str, tuple[str, ...], tuple[str, ...]], ...] = (
    ("*", ("llm.test:443", "192.0.2.1:443", "[2001:db8::1]:443"), ()),
    (
        "llm.test",
        ("llm.test:443", "LLM.test:443", "llm.test.:443", "a.llm.test:443", "llm.test:1"),
        ("xllm.test:443", "llm.test.example:443", "test:443"),
    ),
    ("LLM.Test.", ("llm.test:443", "a.llm.test:443"), ("xllm.test:443",)),
    (".llm.test", ("llm.test:443", "a.llm.test:443"), ("xllm.test:443",)),
    ("*.llm.test", ("llm.test:443", "a.b.llm.test:443"), ("xllm.test:443",)),
    ("llm.test:8443", ("llm.test:8443", "a.llm.test:8443"), ("llm.test:443",)),
    (".llm.test:8443", ("a.llm.test:8443",), ("a.llm.test:443",)),
    ("192.0.2.1", ("192.0.2.1:443", "192.0.2.1:1"), ("192.0.2.11:443", "1.192.0.2.1.test:443")),
    ("192.0.2.1:8443", ("192.0.2.1:8443",), ("192.0.2.1:443",)),
    ("192.0.2.0/24", ("192.0.2.0:1", "192.0.2.255:1", "[::ffff:192.0.2.9]:1"), ("192.0.3.0:1",)),
    ("192.0.2.77/24", ("192.0.2.1:443",), ("192.0.3.1:443", "llm.test:443")),
    ("0.0.0.0/0", ("192.0.2.1:1",), ("[2001:db8::1]:1", "llm.test:1")),
    ("2001:db8::1", ("[2001:db8::1]:443", "[2001:DB8:0::1]:443"), ("[2001:db8::2]:443",)),
    ("2001:db8::/32", ("[2001:db8:1::1]:443",), ("[2001:db9::1]:443", "192.0.2.1:443")),
    ("[2001:db8::1]", ("[2001:db8::1]:443",), ("[2001:db8::2]:443",)),
    ("[2001:db8::1]:8443", ("[2001:db8::1]:8443",), ("[2001:db8::1]:443",)),
    ("[2001:db8::]/32", ("[2001:db8:1::1]:443",), ("[2001:db9::1]:443",)),
    # Forms that no server has.
    ("10.*", (), ("10.1.1.1:443", "llm.test:443")),
    ("10.0.0.0/99", (), ("10.0.0.1:443", "llm.test:443")),
    ("llm.test:http", (), ("llm.test:443", "llm.test:80")),
    ("<local>", (), ("llm:443", "llm.test:443")),
    (".", (), ("llm.test:443", "192.0.2.1:443")),
    ("*.", (), ("llm.test:443", "192.0.2.1:443")),
    ("[x]", (), ("llm.test:443", "[2001:db8::1]:443")),
    ("http://llm.test", (), ("llm.test:443",)),
)
LOOPBACK = (
    *("localhost", "LocalHost", "localhost.", "llm.localhost", "127.0.0.1", "127.9.9.9"),
    *("::1", "::ffff:127.0.0.1", "0.0.0.0", "::", "127.1", "2130706433", "0x7f000001"),
)


def _split(server: str) -> tuple[str, int]:
    host, _, port = server.rpartition(":")
    return host.strip("[]"), int(port)


class RulesTests(SynchronousTestCase):
    """Which proxy leads to which server."""

    def test_schemes(self) -> None:
        """Each scheme has a proxy of its own, or none."""
        rules = ProxyRules.of("http://secure.test:3128", "http://plain.test:8080", ())
        self.assertEqual(rules.proxy_of("https", "llm.test", 443), SECURE)
        self.assertEqual(rules.proxy_of("http", "llm.test", 80), PLAIN)
        one = ProxyRules.of(None, "http://plain.test:8080", ())
        self.assertIsNone(one.proxy_of("https", "llm.test", 443))
        self.assertIsNone(DIRECT.proxy_of("http", "llm.test", 80))

    def test_exemptions(self) -> None:
        """Each form of exemption covers its servers, and no others."""
        for item, covered, others in EXEMPTIONS:
            rules = ProxyRules.of("http://secure.test:3128", None, (item,))
            for servers, expected in ((covered, None), (others, SECURE)):
                for server in servers:
                    found = rules.proxy_of("https", *_split(server))
                    self.assertEqual(found, expected, (item, server))

    def test_several(self) -> None:
        """One of several exemptions suffices."""
        rules = ProxyRules.of("http://secure.test:3128", None, ("a.test", "b.test"))
        found = [rules.proxy_of("https", f"{name}.test", 443) for name in "abc"]
        self.assertEqual(found, [None, None, SECURE])

    def test_loopback(self) -> None:
        """This host is never reached through a proxy, however its address is written."""
        rules = ProxyRules.of("http://secure.test:3128", "http://plain.test:8080", ())
        for host in LOOPBACK:
            for scheme in ("http", "https"):
                self.assertIsNone(rules.proxy_of(scheme, host, 443), host)
        for host in ("localhost.test", "notlocalhost", "128.0.0.1", "127.test", "1.1.1.1.1"):
            self.assertEqual(rules.proxy_of("https", host, 443), SECURE, host)


class ProxyTests(SynchronousTestCase):
    """A proxy's URL, and the credentials in it."""

    def test_of(self) -> None:
        """The host loses its brackets, and the port is 80 unless given."""
        for url, host, port in (
            ("http://Proxy.test:3128", "proxy.test", 3128),
            ("http://proxy.test", "proxy.test", 80),
            ("http://[2001:db8::1]:3128", "2001:db8::1", 3128),
        ):
            self.assertEqual(ForwardProxy.of(url), ForwardProxy(host, port))
            self.assertEqual(ForwardProxy.of(url).field_line, b"")
        self.assertEqual(ForwardProxy("2001:db8::1", 1).address, "[2001:db8::1]:1")

    def test_credentials(self) -> None:
        """User name and password are percent-decoded, and encoded as HTTP Basic."""
        for given, pair in (
            ("me:hunter2", b"me:hunter2"),
            ("me", b"me:"),
            ("me:", b"me:"),
            (":hunter2", b":hunter2"),
            ("m%40e:h%3A%2F%23%20%25", b"m@e:h:/# %"),
            ("me:a:b", b"me:a:b"),
            ("me:a@b", b"me:a@b"),
            ("me:%C3%BC%FF", b"me:\xc3\xbc\xff"),
        ):
            proxy = ForwardProxy.of(f"http://{given}@proxy.test:3128")
            name, _, value = proxy.field_line.partition(b": ")
            self.assertEqual((name, value[-2:]), (b"Proxy-Authorization", b"\r\n"))
            self.assertEqual(proxy.authorization, value[:-2])
            self.assertEqual(b64decode(value.removeprefix(b"Basic ")), pair)
            self.assertEqual(proxy.address, "proxy.test:3128")

    def test_hidden(self) -> None:
        """Neither a proxy nor the rules show the credentials."""
        rules = ProxyRules.of("http://me:hunter2@proxy.test:3128", None, ())
        shown = f"{rules!r} {rules.https!r} {rules.https}"
        self.assertIn("proxy.test:3128", shown)
        for secret in ("hunter2", "bWU6aHVudGVyMg=="):
            self.assertNotIn(secret, shown)
