"""Fetches over HTTP from the platform: bounded in time and size, and trusted no further than that.

treq is used for its client interface alone. What it adds by default would be wrong here: cookies
kept between calls, redirects followed, gzip asked for and decoded without a limit.
"""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any, Final, NamedTuple, NoReturn, TypeVar

from OpenSSL import SSL
from service_identity import VerificationError
from treq.client import HTTPClient
from twisted.internet import protocol
from twisted.internet.defer import CancelledError, Deferred, maybeDeferred
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

from autopilot.http.fetch_error import NETWORK, SHAPE, STATUS, TIMEOUT, TOO_LARGE, FetchError

MAX_BYTES: Final = 16 * 1024 * 1024

_T = TypeVar("_T")

# What a failed request is reported as, first match wins. Twisted's own messages name hosts and
# addresses, which must not reach a status page.
_NETWORK_ERRORS: Final[tuple[tuple[tuple[type[BaseException], ...], str, str], ...]] = (
    ((DNSLookupError,), NETWORK, "name lookup failed"),
    ((ConnectionRefusedError,), NETWORK, "connection refused"),
    ((ConnectTimeout,), TIMEOUT, "connecting timed out"),
    ((VerificationError, SSL.Error, SSLError), NETWORK, "TLS failed"),
    ((ConnectError,), NETWORK, "connecting failed"),
)


class FetchedResponse(NamedTuple):
    """A whole answer, whatever its status."""

    status: int
    body: bytes


class Fetcher:
    """GETs a URL through the given agent, of a feed the body and of anything else the answer."""

    def __init__(
        self,
        agent: IAgent,
        clock: IReactorTime,
        timeout: float,
        max_bytes: int = MAX_BYTES,
    ) -> None:
        """`timeout` in seconds runs from the call to the last byte of the body."""
        self._agent = _Plain(agent)
        self._clock = clock
        self._timeout = timeout
        self._max_bytes = max_bytes

    def get(self, url: str) -> Deferred[bytes]:
        """Fetch the body at a URL; an answer that is not a 200 is dropped unread.

        Fails with `FetchError` and nothing else, unless the caller cancels. However it ends, the
        connection is either reusable or aborted.
        """
        return self._in_time(self._get(url))

    def ask(self, url: str, authorization: str | None = None) -> Deferred[FetchedResponse]:
        """Fetch the answer at a URL, an error's too. Fails as `get` does."""
        return self._in_time(self._ask(url, authorization))

    def _in_time(self, fetching: Coroutine[Deferred[Any], Any, _T]) -> Deferred[_T]:
        def expired(_result: object, seconds: float) -> NoReturn:
            raise FetchError(TIMEOUT, f"no complete answer within {seconds:g} s")

        fetched = Deferred.fromCoroutine(fetching)
        return fetched.addTimeout(self._timeout, self._clock, onTimeoutCancel=expired)

    async def _get(self, url: str) -> bytes:
        response = await self._response(url)
        if response.code != 200:
            _discard(response)
            raise FetchError(STATUS, f"status {response.code}")
        return await _whole_body(response, self._max_bytes)

    async def _ask(self, url: str, authorization: str | None) -> FetchedResponse:
        response = await self._response(url, authorization)
        return FetchedResponse(response.code, await _whole_body(response, self._max_bytes))

    async def _response(self, url: str, authorization: str | None = None) -> IResponse:
        headers = Headers({b"Accept": [b"application/json"]})
        if authorization is not None:
            headers.addRawHeader(b"Authorization", authorization.encode("ascii"))
        # A client of its own for each call, because a client keeps cookies.
        client = HTTPClient(self._agent)
        clock: Any = self._clock  # only to keep treq from importing the global reactor
        response: IResponse = await maybeDeferred(
            client.get,
            url,
            headers=headers,
            allow_redirects=False,
            unbuffered=True,
            reactor=clock,
        ).addErrback(_explain)
        return response


@implementer(IAgent)
class _Plain:
    """An agent that asks for an unencoded answer, overruling the gzip that treq asks for."""

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
        return answered.addCallback(_refuse_encoded)


def _refuse_encoded(response: IResponse) -> IResponse:
    """Stop here what was compressed all the same: treq would inflate it without any limit."""
    codings = response.headers.getRawHeaders(b"Content-Encoding", [])
    if any(coding.strip().lower() not in (b"", b"identity") for coding in codings):
        _discard(response)
        raise FetchError(SHAPE, "compressed answer")
    return response


def _whole_body(response: IResponse, max_bytes: int) -> Deferred[bytes]:
    """The body of an answer of at most `max_bytes`; a longer one is dropped unread."""
    if response.length is not UNKNOWN_LENGTH and response.length > max_bytes:
        _discard(response)
        raise _too_large(max_bytes)
    return _deliver(response, max_bytes).finished


def _discard(response: IResponse) -> None:
    """Abort a response nobody will read; left alone it would stay open and paused for ever."""
    body = _deliver(response, 0)
    body.finished.addErrback(lambda _failure: None)
    body.finished.cancel()


def _deliver(response: IResponse, max_bytes: int) -> _Body:
    body = _Body(max_bytes)
    response.deliverBody(body)
    return body


class _Body(protocol.Protocol):
    """Gathers a response body up to a limit. Cancelling `finished` aborts the connection."""

    def __init__(self, max_bytes: int) -> None:
        self.finished: Deferred[bytes] = Deferred(lambda _deferred: self._abort())
        self._room = max_bytes
        self._limit = max_bytes
        self._chunks: list[bytes] = []

    def dataReceived(self, data: bytes) -> None:
        """Keep a piece of the body, or give up once it does not fit."""
        if self.finished.called:
            return
        self._room -= len(data)
        if self._room < 0:
            self._chunks.clear()
            self.finished.errback(_too_large(self._limit))
            self._abort()
        else:
            self._chunks.append(data)

    def connectionLost(self, reason: Failure = protocol.connectionDone) -> None:
        """The body is over, whole or not.

        An end without length is taken for whole: if it was not, the JSON will show it.
        """
        if self.finished.called:
            return
        if isinstance(reason.value, ResponseDone | PotentialDataLoss):
            self.finished.callback(b"".join(self._chunks))
        else:
            self.finished.errback(FetchError(NETWORK, "answer cut short"))

    def _abort(self) -> None:
        """Close the connection now.

        What a body protocol gets for a transport only offers `loseConnection`, and over TLS that
        waits for the peer's goodbye, while the rest of the body keeps coming. The transport it
        wraps can really be aborted; it is gone when the response is already complete.
        """
        real = getattr(self.transport, "_producer", None)
        if real is not None:
            real.abortConnection()


def _too_large(limit: int) -> FetchError:
    return FetchError(TOO_LARGE, f"larger than {limit} bytes")


def _explain(failure: Failure) -> NoReturn:
    """Say why there is no response, without what Twisted's own messages would give away."""
    error = failure.value
    assert error is not None
    if isinstance(error, FetchError | CancelledError):
        raise error
    causes = _causes(error)
    for kinds, outcome, message in _NETWORK_ERRORS:
        if any(isinstance(cause, kinds) for cause in causes):
            raise FetchError(outcome, message)
    raise FetchError(NETWORK, "no usable answer")


def _causes(error: BaseException) -> list[BaseException]:
    """An error and what its `reasons` wrap (Twisted nests failures in lists), outermost first."""
    found = [error]
    for reason in getattr(error, "reasons", ()):
        found += _causes(reason.value)
    return found
