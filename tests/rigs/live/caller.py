"""Makes calls with treq. Every byte sent to a platform passes through this module."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from treq.client import HTTPClient
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure
from twisted.web.client import Agent, HTTPConnectionPool, ResponseDone
from twisted.web.http import PotentialDataLoss
from twisted.web.http_headers import Headers
from twisted.web.iweb import IAgent, IBodyProducer, IResponse
from zope.interface import implementer

from tests.rigs.live.admission import Admission
from tests.rigs.live.key import FAKE_KEY, Key
from tests.rigs.live.reply import Reply
from tests.rigs.live.request import Auth, Host, LiveRequest

CALL_SECONDS = 90.0
LARGEST = 32 * 1024 * 1024
_LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})
_BAD_CREDENTIALS: Mapping[Auth, str] = {
    Auth.WRONG: "Bearer not-a-key",
    Auth.MALFORMED: "Bearer cpk_malformed",
    Auth.UNKNOWN: f"Bearer {FAKE_KEY}",
}


class BadBaseError(ValueError):
    """An address to which a key must not be sent."""


class NoAnswerError(Exception):
    """A call without a response; the text names only the kind of failure."""


def checked_base(text: str) -> str:
    """Return the origin; a key may be sent to https, or to this machine.

    Raise BadBaseError for anything else.
    """
    parts = urlsplit(text)
    local = parts.hostname in _LOOPBACK
    if parts.scheme != "https" and not (parts.scheme == "http" and local):
        raise BadBaseError("only https, and http on this machine")
    if not parts.hostname or parts.username or parts.query or parts.fragment:
        raise BadBaseError("not an origin such as https://host")
    return text.rstrip("/")


def is_local(base: str) -> bool:
    """Return whether a base URL refers to this machine."""
    return urlsplit(base).hostname in _LOOPBACK


class Caller:
    """Makes calls to one side. `bases` are its hosts; only they receive `key`."""

    def __init__(
        self, reactor: Any, bases: Mapping[Host, str], key: Key, admission: Admission
    ) -> None:
        self._reactor = reactor
        self._bases = {host: checked_base(base) for host, base in bases.items()}
        self._key = key
        self.admission = admission

    def add(self, host: Host, base: str) -> None:
        """Add a host."""
        self._bases[host] = checked_base(base)

    async def send(self, request: LiveRequest, seconds: float = CALL_SECONDS) -> Reply:
        """Make a call when it is admitted. Raise ClosedError or NoAnswerError."""
        return await self.admission.run(lambda: self._call(request, seconds))

    async def _call(self, request: LiveRequest, seconds: float) -> Reply:
        clock: IReactorTime = self._reactor
        started = clock.seconds()
        agent = _PlainAgent(self._reactor, seconds, b"gzip" if request.compressed else b"identity")
        try:
            response = await (
                HTTPClient(agent)
                .request(
                    request.method,
                    self._bases[request.host] + request.target,
                    headers=self._headers(request),
                    data=request.body or None,
                    allow_redirects=False,
                    unbuffered=True,
                )
                .addTimeout(seconds, clock)
            )
        except Exception as problem:  # noqa: BLE001  whatever it is, no answer came of it
            raise NoAnswerError(_kinds(problem)) from None
        head_at = clock.seconds()
        body = _Body()
        response.deliverBody(body)
        end = await body.over.addTimeout(seconds, clock, lambda *_: body.give_up("timed out"))
        fields = tuple(
            (name.decode("latin-1"), value.decode("latin-1"))
            for name, values in agent.received.getAllRawHeaders()
            for value in values
        )
        return Reply(
            response.code,
            fields,
            body.data(),
            end,
            head_at - started,
            clock.seconds() - started,
        )

    def _headers(self, request: LiveRequest) -> Headers:
        headers = Headers({b"user-agent": [b"chutes-autopilot-live-check"]})
        if request.body:
            headers.addRawHeader("content-type", request.content_type)
        if request.auth is Auth.KEY:
            headers.addRawHeader("authorization", self._key.bearer())
        elif request.auth is Auth.OTHER_SCHEME:
            headers.addRawHeader("authorization", self._key.other_scheme())
        elif request.auth is Auth.API_KEY:
            headers.addRawHeader("x-api-key", self._key.api_key())
        elif request.auth in _BAD_CREDENTIALS:
            headers.addRawHeader("authorization", _BAD_CREDENTIALS[request.auth])
        for name, value in request.headers:
            headers.addRawHeader(name, value)
        return headers


@implementer(IAgent)
class _PlainAgent:
    """An agent that keeps the head as received, where treq hides a content encoding."""

    def __init__(self, reactor: Any, seconds: float, encoding: bytes) -> None:
        pool = HTTPConnectionPool(reactor, persistent=False)
        self._agent = Agent(reactor, connectTimeout=min(seconds, 15.0), pool=pool)
        self._encoding = encoding
        self.received = Headers()

    def request(
        self,
        method: bytes,
        uri: bytes,
        headers: Headers | None = None,
        bodyProducer: IBodyProducer | None = None,
    ) -> Deferred[IResponse]:
        """Send the request with the requested content encodings only."""
        headers = Headers() if headers is None else headers.copy()
        headers.setRawHeaders(b"accept-encoding", [self._encoding])
        return self._agent.request(method, uri, headers, bodyProducer).addCallback(self._note)

    def _note(self, response: IResponse) -> IResponse:
        self.received = response.headers.copy()
        return response


class _Body(Protocol):
    """Collects a body up to a limit; `over` fires with the way it ended."""

    def __init__(self) -> None:
        self._pieces: list[bytes] = []
        self._size = 0
        self.over: Deferred[str] = Deferred(lambda _: None)

    def dataReceived(self, data: bytes) -> None:
        """Add data, up to the limit."""
        self._size += len(data)
        if self._size <= LARGEST:
            self._pieces.append(data)
        elif not self.over.called:
            self.over.callback(self.give_up("too long"))

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Report how the body ended."""
        if self.over.called:
            return
        if reason.check(ResponseDone):
            self.over.callback("whole")
        elif reason.check(PotentialDataLoss):
            self.over.callback("with the connection")
        else:
            self.over.callback("cut")

    def give_up(self, how: str) -> str:
        """Abort the connection at once, because unread tokens are billed too."""
        transport: Any = self.transport
        # The transport of a body protocol cannot abort; the one behind it can.
        transport = getattr(transport, "_producer", transport)
        if transport is not None:
            getattr(transport, "abortConnection", transport.loseConnection)()
        return how

    def data(self) -> bytes:
        """The data received."""
        return b"".join(self._pieces)


def _kinds(problem: BaseException) -> str:
    """Return the types of the failures only: the texts of errors may quote what was sent."""
    reasons = getattr(problem, "reasons", ())
    inner = [type(each.value).__name__ for each in reasons if isinstance(each, Failure)]
    return ", ".join((type(problem).__name__, *inner))
