"""The check of each configured server: DNS, TCP and TLS, by the router's own rules."""

from __future__ import annotations

import errno
import socket
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from ipaddress import ip_address
from itertools import zip_longest
from pathlib import Path
from threading import Thread
from typing import Any, Final

from twisted.internet.defer import CancelledError, Deferred, TimeoutError
from twisted.internet.endpoints import TCP4ClientEndpoint, TCP6ClientEndpoint
from twisted.internet.error import ConnectingCancelledError
from twisted.internet.interfaces import (
    IAddress,
    IHostResolution,
    IResolutionReceiver,
    IStreamClientEndpoint,
)
from twisted.internet.protocol import Factory, Protocol
from zope.interface import implementer

from autopilot.cli import remedies
from autopilot.cli.check_result import CheckResult, CheckState
from autopilot.cli.handshake import Handshake, HandshakeError, HandshakeFault, shake_hands
from autopilot.cli.remedies import ConnectFault, NameFault
from autopilot.http.connect_proxy import ConnectEndpoint, ProxyEndpoint, connect_request
from autopilot.http.forward_proxy import address_of
from autopilot.settings import Settings
from autopilot.upstream.endpoints import trust_root
from autopilot.upstream.pool import Origin
from autopilot.wiring import mapping

_MAX_ADDRESSES: Final = 4
_DAY: Final = 86400
_SOON: Final = 14
"""Days before its expiry at which a certificate is worth a warning."""
_URLS: Final = (
    "BACKEND_BASE_URL",
    "MESSAGES_BASE_URL",
    "RESPONSES_BASE_URL",
    "MODELS_URL",
    "UTILIZATION_URL",
    "API_BASE_URL",
)
_REASONS: Final = {
    socket.EAI_AGAIN: NameFault.NO_SERVER,
    socket.EAI_FAIL: NameFault.NO_SERVER,
    socket.EAI_NONAME: NameFault.UNKNOWN,
    getattr(socket, "EAI_NODATA", None): NameFault.NO_ADDRESS,
    getattr(socket, "EAI_ADDRFAMILY", None): NameFault.NO_ADDRESS,
}
"""The failures of getaddrinfo(3); systems differ in the last two."""
_CONNECT_FAULTS: Final = {
    "ConnectionRefusedError": ConnectFault.REFUSED,
    "NoRouteError": ConnectFault.NO_ROUTE,
    "TimeoutError": ConnectFault.TIMEOUT,
    "TCPTimedOutError": ConnectFault.TIMEOUT,
}
_CONNECT_ERRNOS: Final = {
    errno.EHOSTUNREACH: ConnectFault.NO_ROUTE,
    errno.EACCES: ConnectFault.FORBIDDEN,
    errno.EPERM: ConnectFault.FORBIDDEN,
}


def origins(settings: Settings) -> Sequence[Origin]:
    """Return the servers named by the settings, without duplicates."""
    found = mapping.origins(settings)
    return list(dict.fromkeys(origin._replace(base_path="") for origin in found))


async def check_network(
    reactor: Any,
    settings: Settings,
    timeout: float,
    now: Callable[[], float],
    progress: Callable[[str], None],
) -> AsyncIterator[CheckResult]:
    """Check all servers concurrently; yield the results in the order of the settings."""
    ca_file = settings.upstream_ca_file
    trust = trust_root(Path(ca_file) if ca_file else None)
    patience = settings.upstream_connect_timeout_ms / 1000
    waiting = [
        (origin, Deferred.fromCoroutine(_Check(reactor, server, trust, timeout, now).run(patience)))
        for origin in origins(settings)
        for server in (_Server.of(origin, settings),)
    ]
    for origin, results in waiting:
        progress(f"reaching {origin.host} …")
        for result in await results:
            yield result


@dataclass(frozen=True, slots=True)
class _Server:
    """A server, and the settings that lead there, for the remedies."""

    origin: Origin
    source: str
    proxy: str
    own_authority: bool

    @classmethod
    def of(cls, origin: Origin, settings: Settings) -> _Server:
        """Return the server of ``origin`` with the names of its settings."""
        urls = _URLS if settings.private == "off" else (*_URLS, "PRIVATE_COLLATERAL_URL")
        # Those behind them are of other services.
        found = zip_longest(urls, mapping.origins(settings), fillvalue="FALLBACKS_FILE")
        names = dict.fromkeys(
            str(name)
            for name, each in found
            if isinstance(each, Origin) and each._replace(base_path="") == origin
        )
        proxy = "HTTPS_PROXY" if origin.secure else "HTTP_PROXY"
        return cls(origin, ", ".join(names), proxy, settings.upstream_ca_file is not None)


class _Check:
    """The check of one server, step by step; ``timeout`` limits each step, in seconds.

    Behind a proxy the first steps reach the proxy, which resolves the server's name itself.
    """

    def __init__(
        self, reactor: Any, server: _Server, trust: Any, timeout: float, now: Callable[[], float]
    ) -> None:
        self._reactor = reactor
        self._server = server
        self._origin = origin = server.origin
        self._proxy = origin.proxy
        # What the router connects to.
        self._host, self._port = (
            (origin.host, origin.port)
            if origin.proxy is None
            else (origin.proxy.host, origin.proxy.port)
        )
        self._trust = trust
        self._timeout = timeout
        self._now = now
        self._results: list[CheckResult] = []

    async def run(self, patience: float) -> Sequence[CheckResult]:
        """Return all results up to the first failure.

        Warn when the steps took longer than ``patience``, the router's own connect timeout.
        """
        began = self._reactor.seconds()
        addresses = await self._look_up()
        reached = await self._connect(addresses) if addresses else None
        if reached is not None and self._origin.secure:
            await self._shake_hands(reached)
        took = self._reactor.seconds() - began
        if took > patience and all(each.state is not CheckState.FAIL for each in self._results):
            detail = f"took {took:.1f} s, more than UPSTREAM_CONNECT_TIMEOUT_MS allows"
            self._note("tcp", CheckState.WARN, detail)
        return self._results

    def _note(self, check: str, state: CheckState, detail: str, remedy: str = "") -> None:
        origin = self._origin
        subject = self._host if check == "dns" else address_of(origin.host, origin.port)
        self._results.append(CheckResult(check, subject, state, detail, remedy))

    async def _look_up(self) -> Sequence[str]:
        host = self._host
        try:
            return [str(ip_address(host))]
        except ValueError:
            pass
        try:
            found: Sequence[str] = await self._in_time(_resolve(self._reactor, host))
            fault = None if found else await self._in_time(_why_unresolved(self._reactor, host))
        except TimeoutError:
            detail = f"no answer within {self._timeout:g} s"
            self._note("dns", CheckState.FAIL, detail, self._name_remedy(NameFault.NO_SERVER))
            return ()
        if fault is not None:
            self._note("dns", CheckState.FAIL, fault, self._name_remedy(fault))
            return ()
        plural = "es" if len(found) > 1 else ""
        self._note("dns", CheckState.OK, f"{len(found)} address{plural}")
        return found

    def _name_remedy(self, fault: NameFault) -> str:
        server = self._server
        source = server.source if self._proxy is None else server.proxy
        return remedies.of_name(fault, source, server.proxy)

    async def _connect(self, addresses: Sequence[str]) -> str | None:
        """Connect to the first few addresses and return the first that accepts."""
        tried = addresses[:_MAX_ADDRESSES]
        began, first = self._reactor.seconds(), None
        why, fault = "", ConnectFault.OTHER
        reached = 0
        for address in tried:
            endpoint = self._endpoint(address)
            factory = Factory.forProtocol(Protocol)
            factory.noisy = False
            try:
                protocol: Any = await self._in_time(endpoint.connect(factory))
            except (TimeoutError, ConnectingCancelledError):
                if not why:
                    why = f"no connection within {self._timeout:g} s"
                    fault = ConnectFault.TIMEOUT
            except Exception as error:
                if isinstance(error, CancelledError):
                    raise
                if not why:
                    why = fault = _connect_fault(error)
            else:
                reached += 1
                first = first or (address, self._reactor.seconds() - began)
                protocol.transport.abortConnection()
        proxy = self._proxy
        way = "directly" if proxy is None else f"through the proxy {proxy.address}"
        if first is None:
            detail = why if proxy is None else f"{way}: {why}"
            server = self._server
            remedy = remedies.of_connection(
                fault, server.source, server.proxy, through_proxy=proxy is not None
            )
            self._note("tcp", CheckState.FAIL, detail, remedy)
            return None
        detail = f"connected in {first[1] * 1000:.0f} ms, {way}"
        if reached < len(tried):
            detail += f"; {len(tried) - reached} of {len(tried)} addresses do not answer ({why})"
        self._note("tcp", CheckState.OK, detail)
        return first[0]

    async def _shake_hands(self, address: str) -> None:
        try:
            seen: Handshake = await self._in_time(
                shake_hands(self._reactor, self._tunnel(address), self._origin.host, self._trust)
            )
        except TimeoutError:
            detail = f"no handshake within {self._timeout:g} s"
            remedy = self._handshake_remedy(HandshakeFault.CLOSED)
            self._note("tls", CheckState.FAIL, detail, remedy)
            return
        except HandshakeError as error:
            if error.fault is HandshakeFault.PROXY:
                remedy = remedies.of_tunnel(str(error), self._server.proxy)
            else:
                remedy = self._handshake_remedy(error.fault)
            self._note("tls", CheckState.FAIL, str(error), remedy)
            return
        days = (seen.expires - self._now()) / _DAY
        detail = (
            f"{seen.protocol}, name and chain of {seen.certificates} certificates good,"
            f" issued by {seen.issuer}, {days:.0f} days left"
        )
        if days < _SOON:
            self._note("tls", CheckState.WARN, f"{detail}: renew it soon")
        else:
            self._note("tls", CheckState.OK, detail)

    def _handshake_remedy(self, fault: HandshakeFault) -> str:
        server = self._server
        return remedies.of_handshake(
            fault, server.source, server.proxy, self._now(), own_authority=server.own_authority
        )

    def _tunnel(self, address: str) -> IStreamClientEndpoint:
        """Return the endpoint below TLS."""
        origin, proxy = self._origin, self._proxy
        endpoint = self._endpoint(address)
        if proxy is None:
            return endpoint
        request = connect_request(proxy, origin.host, origin.port)
        return ConnectEndpoint(ProxyEndpoint(endpoint), request)

    def _endpoint(self, address: str) -> IStreamClientEndpoint:
        kind = TCP6ClientEndpoint if ":" in address else TCP4ClientEndpoint
        made: IStreamClientEndpoint = kind(
            self._reactor, address, self._port, timeout=self._timeout + 1
        )
        return made

    def _in_time(self, waiting: Deferred[Any]) -> Deferred[Any]:
        return waiting.addTimeout(self._timeout, self._reactor)


def _connect_fault(error: Exception) -> ConnectFault:
    """Return why there is no connection, without the address that the error's text contains."""
    named = _CONNECT_FAULTS.get(type(error).__name__)
    if named is not None:
        return named
    number = getattr(getattr(error, "osError", None), "errno", None)
    return _CONNECT_ERRNOS.get(number or 0, ConnectFault.OTHER)


def _why_unresolved(reactor: Any, host: str) -> Deferred[NameFault]:
    """Look a name up once more for the reason, which Twisted's resolvers do not report."""
    done: Deferred[NameFault] = Deferred()

    def look_up() -> None:
        fault = NameFault.NO_ADDRESS
        try:
            socket.getaddrinfo(host, 0, type=socket.SOCK_STREAM)
        except socket.gaierror as error:
            fault = _REASONS.get(error.errno, NameFault.UNKNOWN)
        except (OSError, UnicodeError):
            fault = NameFault.UNKNOWN
        reactor.callFromThread(lambda: None if done.called else done.callback(fault))

    # A daemon thread, as in `autopilot.http.resolver`: the name servers may never answer.
    Thread(target=look_up, daemon=True).start()
    return done


def _resolve(reactor: Any, host: str) -> Deferred[Sequence[str]]:
    """Resolve a name; the result is empty if it does not exist."""
    done: Deferred[Sequence[str]] = Deferred()
    reactor.nameResolver.resolveHostName(_Receiver(done), host)
    return done


@implementer(IResolutionReceiver)
class _Receiver:
    """Collects the addresses of one resolution."""

    def __init__(self, done: Deferred[Sequence[str]]) -> None:
        self._done = done
        self._found: list[str] = []

    def resolutionBegan(self, resolutionInProgress: IHostResolution) -> None:  # noqa: N802, N803
        """See `IResolutionReceiver`."""

    def addressResolved(self, address: IAddress) -> None:  # noqa: N802
        """See `IResolutionReceiver`."""
        self._found.append(str(getattr(address, "host", "")))

    def resolutionComplete(self) -> None:  # noqa: N802
        """See `IResolutionReceiver`."""
        if not self._done.called:
            self._done.callback(list(dict.fromkeys(self._found)))
