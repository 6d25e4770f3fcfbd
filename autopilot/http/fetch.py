"""HTTP fetches from the platform, bounded in time and size.

treq serves as an HTTP client only. Its defaults are unsafe here: it keeps cookies between calls,
follows redirects, and requests gzip, which it inflates without a limit.
"""

from __future__ import annotations

from collections.abc import Coroutine
from dataclasses import dataclass, field
from io import BytesIO
from typing import Any, Final, NoReturn, TypeVar

from hyperlink import EncodedURL
from OpenSSL import SSL
from service_identity import CertificateError, VerificationError
from treq.client import HTTPClient
from twisted.internet import protocol
from twisted.internet.defer import CancelledError, Deferred, maybeDeferred, succeed
from twisted.internet.error import (
    ConnectError,
    ConnectionRefusedError,
    DNSLookupError,
    SSLError,
)
from twisted.internet.error import TimeoutError as ConnectTimeout
from twisted.internet.interfaces import IReactorTime
from twisted.python.failure import Failure
from twisted.web.client import ResponseDone
from twisted.web.http import PotentialDataLoss
from twisted.web.http_headers import Headers
from twisted.web.iweb import UNKNOWN_LENGTH, IAgent, IBodyProducer, IResponse
from zope.interface import implementer

from autopilot.http.connect_proxy import ProxyError
from autopilot.http.fetch_error import (
    NETWORK,
    SHAPE,
    STATUS,
    TIMEOUT,
    TOO_LARGE,
    FetchError,
    FetchFault,
)

MAX_BYTES: Final = 16 * 1024 * 1024

_T = TypeVar("_T")

# How a failed request is reported; the first match applies. Twisted's own messages contain hosts
# and addresses, which must not reach the status page.
_NETWORK_ERRORS: Final[tuple[tuple[tuple[type[BaseException], ...], FetchFault, str], ...]] = (
    ((DNSLookupError,), FetchFault.NAME, "name lookup failed"),
    ((ConnectionRefusedError,), FetchFault.REFUSED, "connection refused"),
    ((ConnectTimeout,), FetchFault.UNREACHED, "connecting timed out"),
    ((VerificationError, CertificateError, SSL.Error, SSLError), FetchFault.TLS, "TLS failed"),
    ((ConnectError,), FetchFault.CONNECT, "connecting failed"),
)


@dataclass(frozen=True, slots=True)
class FetchedResponse:
    """A complete response, whatever its status."""

    status: int
    body: bytes
    headers: Headers = field(default_factory=Headers, compare=False, repr=False)


class Fetcher:
    """GETs URLs through an agent."""

    def __init__(
        self,
        agent: IAgent,
        clock: IReactorTime,
        timeout: float,
        max_bytes: int = MAX_BYTES,
    ) -> None:
        """Apply `timeout`, in seconds, from the call to the last byte of the body."""
        self._agent = _IdentityAgent(agent)
        self._clock = clock
        self._timeout = timeout
        self._max_bytes = max_bytes

    def get(self, url: str) -> Deferred[bytes]:
        """Fetch the body of a URL; a response other than 200 is discarded unread.

        Fails with `FetchError` only, unless the caller cancels. In every case the connection is
        afterwards reusable or aborted.
        """
        return self._in_time(self._get(url))

    def ask(self, url: str, authorization: str | None = None) -> Deferred[FetchedResponse]:
        """Fetch the response of a URL, whatever its status. Fails as `get` does."""
        return self._in_time(self._ask(url, authorization))

    def _in_time(self, fetching: Coroutine[Deferred[Any], Any, _T]) -> Deferred[_T]:
        """Run a fetch, and fail with `FetchError` if it exceeds the time-out."""

        def expired(_result: object, seconds: float) -> NoReturn:
            raise FetchError(TIMEOUT, f"no complete response within {seconds:g} s")

        fetched = Deferred.fromCoroutine(fetching)
        return fetched.addTimeout(self._timeout, self._clock, onTimeoutCancel=expired)

    async def _get(self, url: str) -> bytes:
        response = await self._response(url)
        if response.code != 200:
            _discard(response)
            raise FetchError(STATUS, f"status {response.code}", status=response.code)
        return await _whole_body(response, self._max_bytes)

    async def _ask(self, url: str, authorization: str | None) -> FetchedResponse:
        response = await self._response(url, authorization)
        body = await _whole_body(response, self._max_bytes)
        return FetchedResponse(response.code, body, response.headers)

    async def _response(self, url: str, authorization: str | None = None) -> IResponse:
        headers = Headers({b"Accept": [b"application/json"]})
        if authorization is not None:
            headers.addRawHeader(b"Authorization", authorization.encode("ascii"))
        # One client per call, because a client keeps cookies.
        client = HTTPClient(self._agent)
        clock: Any = self._clock  # without it treq would import the global reactor

        def get() -> Deferred[Any]:
            return client.get(
                _EncodedURL.from_text(url),
                headers=headers,
                allow_redirects=False,
                unbuffered=True,
                reactor=clock,
            )

        response: IResponse = await maybeDeferred(get).addErrback(_explain)
        return response


class _EncodedURL(EncodedURL):
    """A URL that is requested as it is.

    treq has hyperlink encode every URL, which takes an IPv6 address for an international name.
    """

    def to_uri(self) -> _EncodedURL:
        """Return the same: settings and callers give URLs in their encoded form."""
        return self


@implementer(IAgent)
class _IdentityAgent:
    """An agent that requests an unencoded response, in place of treq's gzip."""

    def __init__(self, agent: IAgent) -> None:
        self._agent = agent

    def request(
        self,
        method: bytes,
        uri: bytes,
        headers: Headers | None = None,
        bodyProducer: IBodyProducer | None = None,
    ) -> Deferred[IResponse]:
        """See `IAgent.request`."""
        plain = Headers() if headers is None else headers.copy()
        plain.setRawHeaders(b"Accept-Encoding", [b"identity"])
        answered: Deferred[IResponse] = self._agent.request(method, uri, plain, bodyProducer)
        return answered.addCallback(_reject_encoded)


def _reject_encoded(response: IResponse) -> IResponse:
    """Reject a response that is compressed nevertheless: treq would inflate it without a limit."""
    codings = response.headers.getRawHeaders(b"Content-Encoding", [])
    if any(coding.strip().lower() not in (b"", b"identity") for coding in codings):
        _discard(response)
        raise FetchError(SHAPE, "compressed response", fault=FetchFault.COMPRESSED)
    return response


def _whole_body(response: IResponse, max_bytes: int) -> Deferred[bytes]:
    """Return the body of a response if it has at most `max_bytes`; else discard it unread."""
    if response.length is not UNKNOWN_LENGTH and response.length > max_bytes:
        _discard(response)
        raise _too_large(max_bytes)
    return _deliver(response, max_bytes).finished


def _discard(response: IResponse) -> None:
    """Abort a response that is not needed; without a reader it would stay open, and paused."""
    body = _deliver(response, 0)
    body.finished.addErrback(lambda _failure: None)
    body.finished.cancel()


def _deliver(response: IResponse, max_bytes: int) -> _Body:
    body = _Body(max_bytes)
    response.deliverBody(body)
    return body


class _Body(protocol.Protocol):
    """Collects a response body up to a limit. Cancelling `finished` aborts the connection."""

    def __init__(self, max_bytes: int) -> None:
        self.finished: Deferred[bytes] = Deferred(lambda _deferred: self._abort())
        self._remaining = max_bytes
        self._limit = max_bytes
        # It grows as bytes arrive; at their end, to join megabytes of pieces would take long.
        self._received = BytesIO()

    def dataReceived(self, data: bytes) -> None:
        """Keep a piece of the body, or abort as soon as the body exceeds the limit."""
        if self.finished.called:
            return
        self._remaining -= len(data)
        if self._remaining < 0:
            self._received = BytesIO()
            self.finished.errback(_too_large(self._limit))
            self._abort()
        else:
            self._received.write(data)

    def connectionLost(self, reason: Failure = protocol.connectionDone) -> None:
        """Complete the body, or fail if it was truncated.

        A response without a length that ends with its connection (RFC 9112 §6.3, rule 8) counts as
        complete; if it was truncated, parsing its JSON fails.
        """
        if self.finished.called:
            return
        if isinstance(reason.value, ResponseDone | PotentialDataLoss):
            self.finished.callback(self._received.getvalue())
        else:
            error = FetchError(NETWORK, "response truncated", fault=FetchFault.TRUNCATED)
            self.finished.errback(error)

    def _abort(self) -> None:
        """Close the connection immediately.

        The transport of a body protocol offers `loseConnection` only, which over TLS waits for the
        peer's close_notify while the body keeps arriving. The transport that it wraps can be
        aborted; it is None once the response is complete.
        """
        transport = getattr(self.transport, "_producer", None)
        if transport is not None:
            transport.abortConnection()


def cancel(in_flight: Deferred[None] | None) -> Deferred[None]:
    """Cancel a poll in flight, if there is one. Fires when it has ended, whatever its result."""
    if in_flight is None:
        return succeed(None)
    ended: Deferred[None] = Deferred()
    in_flight.addBoth(lambda _result: ended.callback(None))
    in_flight.cancel()
    return ended


def _too_large(limit: int) -> FetchError:
    return FetchError(TOO_LARGE, f"larger than {limit} bytes")


def _explain(failure: Failure) -> NoReturn:
    """Raise the reason why there is no response, without hosts or addresses."""
    error = failure.value
    assert error is not None
    if isinstance(error, FetchError | CancelledError):
        raise error
    causes = _causes(error)
    for cause in causes:
        if isinstance(cause, ProxyError):
            raise FetchError(NETWORK, str(cause), fault=FetchFault.PROXY)
    for types, fault, message in _NETWORK_ERRORS:
        if any(isinstance(cause, types) for cause in causes):
            outcome = TIMEOUT if fault is FetchFault.UNREACHED else NETWORK
            raise FetchError(outcome, message, fault=fault)
    raise FetchError(NETWORK, "no valid HTTP response", fault=FetchFault.NOT_HTTP)


def _causes(error: BaseException) -> list[BaseException]:
    """Return an error and those in its `reasons` (Twisted nests failures), outermost first."""
    found = [error]
    for reason in getattr(error, "reasons", ()):
        found += _causes(reason.value)
    return found
