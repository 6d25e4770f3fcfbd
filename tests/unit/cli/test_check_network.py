"""Tests of the network checks, on real sockets with certificates made for the test."""

from __future__ import annotations

import datetime
import errno
import re
import socket
import time
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import trustme
from OpenSSL import SSL
from twisted.internet import reactor as real
from twisted.internet.defer import Deferred, fail
from twisted.internet.error import (
    ConnectError,
    ConnectingCancelledError,
    NoRouteError,
    TCPTimedOutError,
)
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.ssl import CertificateOptions
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase, TestCase

from autopilot.cli import check_network as check_network_module
from autopilot.cli.check_network import _Server, check_network, origins
from autopilot.cli.check_result import CheckResult
from autopilot.cli.platform import verified_agent
from autopilot.http.fetch import Fetcher
from autopilot.http.fetch_error import FetchError
from autopilot.settings import Settings
from autopilot.settings.files.fallbacks import FallbackEntry, FallbacksFile
from tests.unit.http.certificates import UNREADABLE, issued
from tests.unit.upstream.tunnels import TunnelProxy

MARKS = ("trial",)

reactor: Any = real
DAY = 86400.0


class OriginTests(SynchronousTestCase):
    """The servers that are checked."""

    def test_each_once(self) -> None:
        """Two URLs of one server are checked once."""
        names = [(origin.host, origin.port) for origin in origins(Settings())]
        self.assertEqual(len(names), len(set(names)))
        self.assertIn(("llm.chutes.ai", 443), names)
        self.assertIn(("api.chutes.ai", 443), names)

    def test_settings_of_each(self) -> None:
        """Each server has the names of the settings that lead there, with other services too."""
        entry = FallbackEntry("x", "http://other.test/v1", "key", ("m",))
        file = FallbacksFile("f", (entry,))
        for settings, count in (
            (Settings(fallbacks_file=file), 5),
            (Settings(fallbacks_file=file, private="always"), 6),
        ):
            found = {each.host: _Server.of(each, settings).source for each in origins(settings)}
            self.assertEqual(len(found), count)
            self.assertEqual(found["other.test"], "FALLBACKS_FILE")
            self.assertEqual(found["api.chutes.ai"], "UTILIZATION_URL, API_BASE_URL")
            sources = ", ".join(found.values())
            self.assertEqual("PRIVATE_COLLATERAL_URL" in sources, settings.private != "off")


class NetworkTestCase(TestCase):
    """A server, and settings whose URLs all name it."""

    def setUp(self) -> None:
        """Create a trusted authority."""
        self.authority = trustme.CA()
        self.ca_file: Path | None = Path(self.mktemp())
        self.ca_file.write_bytes(self.authority.cert_pem.bytes())

    def listen(self, certificate: trustme.LeafCert | None) -> int:
        """Listen with TLS, or on a silent port, and return the port."""
        factory = Factory.forProtocol(Protocol)
        factory.noisy = False
        if certificate is None:
            port = reactor.listenTCP(0, factory, interface="127.0.0.1")
        else:
            options = _options(certificate)
            port = reactor.listenSSL(0, factory, options, interface="127.0.0.1")
        self.addCleanup(port.stopListening)
        number = port.getHost().port
        assert isinstance(number, int)
        return number

    async def verdicts(
        self, url: str, timeout: float = 10.0, ahead: float = 0.0, **changes: Any
    ) -> list[CheckResult]:
        """Return the results for one server."""
        names = ("backend_base", "messages_base", "responses_base", "api_base")
        urls: Any = {f"{name}_url": url for name in (*names, "models", "utilization")}
        ca_file = None if self.ca_file is None else str(self.ca_file)
        settings = Settings(**urls, upstream_ca_file=ca_file, **changes)
        checks = check_network(
            reactor, settings, timeout, lambda: time.time() + ahead, lambda what: None
        )
        return [each async for each in checks]


def _connect_error(number: int) -> ConnectError:
    """Return the error of a connection that failed with this error number."""
    return ConnectError(osError=OSError(number, "text of the system"))


def _options(certificate: trustme.LeafCert) -> CertificateOptions:
    """A TLS server context with its whole chain."""
    context = SSL.Context(SSL.TLS_SERVER_METHOD)
    certificate.configure_cert(context)
    options = CertificateOptions()
    options._context = context
    return options


class GoodTests(NetworkTestCase):
    """Servers that pass."""

    def test_good(self) -> Deferred[None]:
        """DNS, TCP and TLS pass; the TLS result shows the certificate's facts."""

        async def steps() -> None:
            port = self.listen(self.authority.issue_cert("localhost"))
            dns, tcp, tls = await self.verdicts(f"https://localhost:{port}/some/path")
            self.assertEqual((dns.check, dns.state, dns.subject), ("dns", "ok", "localhost"))
            self.assertEqual(
                (tcp.check, tcp.state, tcp.subject), ("tcp", "ok", f"localhost:{port}")
            )
            self.assertRegex(tcp.detail, r"\Aconnected in \d+ ms")
            self.assertEqual((tls.check, tls.state), ("tls", "ok"), tls)
            self.assertRegex(
                tls.detail,
                r"\ATLSv1\.3, name and chain of \d certificates good, issued by trustme .*,"
                r" \d+ days left\Z",
            )

        return Deferred.fromCoroutine(steps())

    def test_plain(self) -> Deferred[None]:
        """An address needs no DNS check, and plain HTTP no TLS check."""

        async def steps() -> None:
            (tcp,) = await self.verdicts(f"http://127.0.0.1:{self.listen(None)}")
            self.assertEqual((tcp.check, tcp.state), ("tcp", "ok"))

        return Deferred.fromCoroutine(steps())

    def test_soon(self) -> Deferred[None]:
        """A certificate that expires within two weeks is a warning."""

        async def steps() -> None:
            until = datetime.datetime.now(datetime.UTC) + datetime.timedelta(days=30)
            port = self.listen(self.authority.issue_cert("127.0.0.1", not_after=until))
            url = f"https://127.0.0.1:{port}"
            for ahead, state in ((0.0, "ok"), (20 * DAY, "warn")):
                tls = (await self.verdicts(url, ahead=ahead))[-1]
                self.assertEqual((tls.check, tls.state), ("tls", state), tls)
                self.assertEqual("days left: renew it soon" in tls.detail, state == "warn")

        return Deferred.fromCoroutine(steps())


class ProxyTests(NetworkTestCase):
    """Servers behind a proxy."""

    def proxy(self, response: bytes = b"HTTP/1.1 200 OK\r\n\r\n") -> str:
        """Start a proxy, and return its address."""
        tunnels = TunnelProxy(reactor, response)
        port = reactor.listenTCP(0, tunnels, interface="127.0.0.1")
        self.addCleanup(port.stopListening)
        return f"127.0.0.1:{port.getHost().port}"

    def test_good(self) -> Deferred[None]:
        """Only the proxy is looked up and connected to; the certificate is the server's."""

        async def steps() -> None:
            port, proxy = self.listen(self.authority.issue_cert("llm.test")), self.proxy()
            url = f"http://me:hunter2@{proxy}"
            tcp, tls = await self.verdicts(f"https://llm.test:{port}", https_proxy=url)
            self.assertEqual((tcp.check, tcp.state, tcp.subject), ("tcp", "ok", f"llm.test:{port}"))
            self.assertRegex(
                tcp.detail, rf"\Aconnected in \d+ ms, through the proxy {re.escape(proxy)}\Z"
            )
            self.assertEqual((tls.check, tls.state), ("tls", "ok"), tls)

        return Deferred.fromCoroutine(steps())

    def test_wrong_name(self) -> Deferred[None]:
        """A certificate for another name fails as without a proxy."""

        async def steps() -> None:
            port, proxy = self.listen(self.authority.issue_cert("other.test")), self.proxy()
            found = await self.verdicts(f"https://llm.test:{port}", https_proxy=f"http://{proxy}")
            self.assertEqual(found[-1].detail, "the certificate is for another name")

        return Deferred.fromCoroutine(steps())

    def test_refused(self) -> Deferred[None]:
        """A proxy that opens no tunnel, or is not there, is the fault that is named."""

        async def steps() -> None:
            proxy = self.proxy(b"HTTP/1.1 407 No\r\n\r\n")
            url = "https://llm.test"
            last = (await self.verdicts(url, https_proxy=f"http://{proxy}"))[-1]
            self.assertEqual(
                (last.check, last.state, last.detail),
                ("tls", "fail", "the proxy responded to CONNECT with status 407"),
            )
            self.assertIn("user name and password into HTTPS_PROXY", last.remedy)
            for response, remedy in (
                (b"HTTP/1.1 403 No\r\n\r\n", "operator allow this server"),
                (b"HTTP/1.1 502 No\r\n\r\n", "opens no tunnel"),
                (b"SSH-2.0-x\r\n", "check that it is an HTTP proxy"),
            ):
                proxy = self.proxy(response)
                last = (await self.verdicts(url, https_proxy=f"http://{proxy}"))[-1]
                self.assertIn(remedy, last.remedy)
            with socket.create_server(("127.0.0.1", 0)) as server:
                closed = f"127.0.0.1:{server.getsockname()[1]}"
            (last,) = await self.verdicts(url, https_proxy=f"http://{closed}")
            self.assertEqual((last.check, last.state), ("tcp", "fail"))
            self.assertEqual(last.detail, f"through the proxy {closed}: connection refused")
            self.assertIn("host and port in HTTPS_PROXY, or exempt", last.remedy)

        return Deferred.fromCoroutine(steps())

    def test_directly(self) -> Deferred[None]:
        """An exempt server is reached directly, and the result says so."""

        async def steps() -> None:
            url = f"http://127.0.0.1:{self.listen(None)}"
            (tcp,) = await self.verdicts(url, http_proxy="http://192.0.2.1:1")
            self.assertRegex(tcp.detail, r"\Aconnected in \d+ ms, directly\Z")

        return Deferred.fromCoroutine(steps())


class AgentTests(NetworkTestCase):
    """The client of the checks that send requests."""

    def test_unreadable_names(self) -> Deferred[None]:
        """A certificate of a trusted authority without a readable name gets no request."""

        async def steps() -> None:
            settings = Settings(upstream_ca_file=str(self.ca_file))
            fetcher = Fetcher(verified_agent(reactor, settings), reactor, 10.0)
            for names in UNREADABLE:
                port = self.listen(issued(self.authority, names))
                with self.assertRaisesRegex(FetchError, "TLS failed"):
                    await fetcher.ask(f"https://localhost:{port}/", "Bearer hunter2")

        return Deferred.fromCoroutine(steps())


class BadTests(NetworkTestCase):
    """Servers that fail at one step; the later steps are not tried."""

    def fails(self, url: str, check: str, detail: str, remedy: str, **how: Any) -> Deferred[None]:
        """Assert that the last result is this failure, with a remedy that matches."""

        async def steps() -> None:
            last = (await self.verdicts(url, **how))[-1]
            self.assertEqual((last.check, last.state, last.detail), (check, "fail", detail))
            self.assertRegex(last.remedy, remedy)
            self.assertNotIn("{", last.remedy)

        return Deferred.fromCoroutine(steps())

    def test_no_name(self) -> Deferred[None]:
        """Each reason of getaddrinfo(3) has its own detail and remedy."""

        async def steps() -> None:
            for number, detail, remedy in (
                (socket.EAI_NONAME, "no such name", "Correct the host name in BACKEND_BASE_URL, "),
                (socket.EAI_AGAIN, "no name server answers", "resolv.conf.*set HTTPS_PROXY"),
                (socket.EAI_FAIL, "no name server answers", "resolv.conf"),
                (socket.EAI_NODATA, "the name has no address", "its DNS entry has no address"),
            ):
                error = socket.gaierror(number, "text of the system")
                self.patch(socket, "getaddrinfo", Mock(side_effect=error))
                await self.fails("https://nobody.test", "dns", detail, remedy)

        return Deferred.fromCoroutine(steps())

    def test_refused(self) -> Deferred[None]:
        """A port on which no server listens refuses the connection."""
        return self.fails(
            "http://127.0.0.1:1", "tcp", "connection refused", "host and port in BACKEND_BASE_URL, "
        )

    def test_connections(self) -> Deferred[None]:
        """Each reason why there is no connection has its own detail and remedy."""

        async def steps() -> None:
            for error, detail, remedy in (
                (NoRouteError(), "no route to the host", "network; for an IPv6 address"),
                (_connect_error(errno.EHOSTUNREACH), "no route to the host", "network"),
                (
                    _connect_error(errno.EPERM),
                    "this machine does not allow the connection",
                    "A firewall or sandbox of this machine",
                ),
                (TCPTimedOutError(), "no connection in time", "drops the connection.*HTTP_PROXY"),
                (ConnectError(), "no connection", "host and port in BACKEND_BASE_URL"),
            ):
                endpoint = Mock(connect=Mock(side_effect=lambda _, error=error: fail(error)))
                self.patch(check_network_module._Check, "_endpoint", lambda *_, made=endpoint: made)
                await self.fails("http://192.0.2.1", "tcp", detail, remedy)

        return Deferred.fromCoroutine(steps())

    def test_no_answer(self) -> Deferred[None]:
        """A connection that is neither made nor refused fails after the timeout of the check."""

        def connect(_factory: object) -> Deferred[None]:
            return Deferred(lambda waiting: waiting.errback(ConnectingCancelledError(None)))

        self.patch(
            check_network_module._Check, "_endpoint", lambda *_: Mock(connect=Mock(wraps=connect))
        )
        wanted = "no connection within 0.01 s"
        return self.fails("https://192.0.2.1", "tcp", wanted, "HTTPS_PROXY", timeout=0.01)

    def test_unknown_issuer(self) -> Deferred[None]:
        """A certificate of an untrusted authority fails."""
        port = self.listen(trustme.CA().issue_cert("127.0.0.1"))
        wanted = "the certificate has an unknown issuer"
        return self.fails(
            f"https://127.0.0.1:{port}",
            "tls",
            wanted,
            "Add the issuer's certificate to UPSTREAM_CA_FILE",
        )

    def test_unknown_to_the_system(self) -> Deferred[None]:
        """Without UPSTREAM_CA_FILE the remedy is to name the authority there."""
        port = self.listen(self.authority.issue_cert("127.0.0.1"))
        self.ca_file = None
        return self.fails(
            f"https://127.0.0.1:{port}",
            "tls",
            "the certificate has an unknown issuer",
            "name that authority's PEM file in UPSTREAM_CA_FILE",
        )

    def test_not_yet_valid(self) -> Deferred[None]:
        """A certificate of the future names its date and that of the clock."""
        first = datetime.datetime.now(datetime.UTC) + datetime.timedelta(days=2)
        certificate = self.authority.issue_cert(
            "127.0.0.1", not_before=first, not_after=first + datetime.timedelta(days=9)
        )
        return self.fails(
            f"https://127.0.0.1:{self.listen(certificate)}",
            "tls",
            f"the certificate is not valid yet: valid from {first:%Y-%m-%d %H:%M} UTC",
            r"\AThis machine's clock says \d{4}-\d\d-\d\d \d\d:\d\d UTC: set it\.\Z",
        )

    def test_expired(self) -> Deferred[None]:
        """An expired certificate fails."""
        last = datetime.datetime.now(datetime.UTC) - datetime.timedelta(days=2)
        certificate = self.authority.issue_cert(
            "127.0.0.1", not_before=last - datetime.timedelta(days=9), not_after=last
        )
        url = f"https://127.0.0.1:{self.listen(certificate)}"
        wanted = f"the certificate has expired: valid until {last:%Y-%m-%d %H:%M} UTC"
        return self.fails(url, "tls", wanted, "clock says .* operator has to renew")

    def test_other_name(self) -> Deferred[None]:
        """A valid certificate for another name fails."""
        port = self.listen(self.authority.issue_cert("other.test"))
        wanted = "the certificate is for another name"
        return self.fails(f"https://127.0.0.1:{port}", "tls", wanted, "leads to another server")

    def test_silent(self) -> Deferred[None]:
        """A server that never answers the handshake fails after the timeout."""
        url = f"https://127.0.0.1:{self.listen(None)}"
        return self.fails(
            url, "tls", "no handshake within 0.2 s", "firewall.*HTTPS_PROXY", timeout=0.2
        )

    def test_no_tls(self) -> Deferred[None]:
        """A server of another protocol fails."""

        class Shouting(Protocol):
            def connectionMade(self) -> None:
                transport: Any = self.transport
                transport.write(b"HTTP/1.1 400 Bad Request\r\n\r\n" * 100)

        factory = Factory.forProtocol(Shouting)
        factory.noisy = False
        port = reactor.listenTCP(0, factory, interface="127.0.0.1")
        self.addCleanup(port.stopListening)
        wanted = "the server offers no supported TLS version or cipher"
        url = f"https://127.0.0.1:{port.getHost().port}"
        return self.fails(url, "tls", wanted, "scheme and port in BACKEND_BASE_URL, ")

    def test_hangs_up(self) -> Deferred[None]:
        """A server that closes the connection before the handshake fails."""

        class Leaving(Protocol):
            def connectionMade(self) -> None:
                transport: Any = self.transport
                transport.abortConnection()

        factory = Factory.forProtocol(Leaving)
        factory.noisy = False
        port = reactor.listenTCP(0, factory, interface="127.0.0.1")
        self.addCleanup(port.stopListening)
        wanted = "the server closed the connection during the handshake"
        url = f"https://127.0.0.1:{port.getHost().port}"
        return self.fails(url, "tls", wanted, "firewall may close TLS")


class SilentNameTests(SynchronousTestCase):
    """Resolution without an answer."""

    def test_given_up(self) -> None:
        """The DNS check fails after the timeout, and the other results follow."""

        class Silent(Clock):
            def resolveHostName(self, receiver: Any, name: str) -> None:  # noqa: N802
                """See `IHostnameResolver`."""

        silent: Any = Silent()
        silent.nameResolver = silent

        async def steps() -> list[CheckResult]:
            checks = check_network(silent, Settings(), 3.0, lambda: 0.0, lambda what: None)
            return [each async for each in checks]

        found = Deferred.fromCoroutine(steps())
        self.assertNoResult(found)
        silent.advance(3.0)
        for verdict in self.successResultOf(found):
            self.assertEqual((verdict.check, verdict.state), ("dns", "fail"))
            self.assertEqual(verdict.detail, "no answer within 3 s")
            self.assertIn("resolv.conf", verdict.remedy)
