"""The check of each configured server: DNS, TCP and TLS, by the router's own rules."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from ipaddress import ip_address
from pathlib import Path
from typing import Any, Final

from twisted.internet.defer import CancelledError, Deferred, TimeoutError
from twisted.internet.endpoints import TCP4ClientEndpoint, TCP6ClientEndpoint
from twisted.internet.interfaces import (
    IAddress,
    IHostResolution,
    IResolutionReceiver,
    IStreamClientEndpoint,
)
from twisted.internet.protocol import Factory, Protocol
from zope.interface import implementer

from autopilot.cli.check_result import CheckResult, CheckState
from autopilot.cli.handshake import Handshake, HandshakeError, shake_hands
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
        (origin, Deferred.fromCoroutine(_Check(reactor, origin, trust, timeout, now).run(patience)))
        for origin in origins(settings)
    ]
    for origin, results in waiting:
        progress(f"reaching {origin.host} …")
        for result in await results:
            yield result


class _Check:
    """The check of one server, step by step; ``timeout`` limits each step, in seconds.

    Behind a proxy the first steps reach the proxy, which resolves the server's name itself.
    """

    def __init__(
        self, reactor: Any, origin: Origin, trust: Any, timeout: float, now: Callable[[], float]
    ) -> None:
        self._reactor = reactor
        self._origin = origin
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

    def _note(self, check: str, state: CheckState, detail: str) -> None:
        origin = self._origin
        subject = self._host if check == "dns" else address_of(origin.host, origin.port)
        self._results.append(CheckResult(check, subject, state, detail))

    async def _look_up(self) -> Sequence[str]:
        host = self._host
        try:
            return [str(ip_address(host))]
        except ValueError:
            pass
        try:
            found: Sequence[str] = await self._in_time(_resolve(self._reactor, host))
        except TimeoutError:
            self._note("dns", CheckState.FAIL, f"no answer within {self._timeout:g} s")
            return ()
        if not found:
            self._note("dns", CheckState.FAIL, "no such name, or no name server reachable")
            return ()
        plural = "es" if len(found) > 1 else ""
        self._note("dns", CheckState.OK, f"{len(found)} address{plural}")
        return found

    async def _connect(self, addresses: Sequence[str]) -> str | None:
        """Connect to the first few addresses and return the first that accepts."""
        tried = addresses[:_MAX_ADDRESSES]
        began, why, first = self._reactor.seconds(), "", None
        reached = 0
        for address in tried:
            endpoint = self._endpoint(address)
            factory = Factory.forProtocol(Protocol)
            factory.noisy = False
            try:
                protocol: Any = await self._in_time(endpoint.connect(factory))
            except TimeoutError:
                why = why or f"no connection within {self._timeout:g} s"
            except Exception as error:
                if isinstance(error, CancelledError):
                    raise
                why = why or _connect_error(error)
            else:
                reached += 1
                first = first or (address, self._reactor.seconds() - began)
                protocol.transport.abortConnection()
        proxy = self._proxy
        way = "directly" if proxy is None else f"through the proxy {proxy.address}"
        if first is None:
            self._note("tcp", CheckState.FAIL, why if proxy is None else f"{way}: {why}")
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
            self._note("tls", CheckState.FAIL, f"no handshake within {self._timeout:g} s")
            return
        except HandshakeError as error:
            self._note("tls", CheckState.FAIL, str(error))
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


def _connect_error(error: Exception) -> str:
    """Return why there is no connection, without the address that the error's text contains."""
    text = {
        "ConnectionRefusedError": "connection refused",
        "NoRouteError": "no route to the host",
        "TimeoutError": "no connection in time",
        "TCPTimedOutError": "no connection in time",
    }
    return text.get(type(error).__name__, "no connection")


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
