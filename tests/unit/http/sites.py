"""A fetcher connected in memory to a site of the test, through a real `Agent` and a real `Site`."""

from __future__ import annotations

from collections.abc import Callable

from treq.testing import RequestTraversalAgent
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.http import Request
from twisted.web.http_headers import Headers
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET

from autopilot.http.fetch import Fetcher
from autopilot.http.fetch_error import FetchError

URL = "http://feeds.test/v1/models"
Answer = Callable[[Request], "bytes | int"]


class FeedSite(Resource):
    """Answers every path as the test says, and records the requests."""

    isLeaf = True

    def __init__(self, answer: Answer) -> None:
        super().__init__()
        self.answer = answer
        self.asked: list[tuple[bytes, bytes, Headers]] = []
        self.gone = 0

    def render(self, request: Request) -> bytes | int:
        """See `IResource.render`."""
        self.asked.append((request.method, request.uri, request.requestHeaders.copy()))
        request.notifyFinish().addErrback(self._went)
        return self.answer(request)

    def _went(self, _failure: Failure) -> None:
        self.gone += 1


def raw(request: Request, answer: bytes) -> int:
    """Send bytes as the whole response, and close."""
    transport = request.channel.transport
    assert transport is not None
    transport.write(answer)
    transport.loseConnection()
    return NOT_DONE_YET


class FetchTestCase(SynchronousTestCase):
    """A fetcher connected to a site."""

    def setUp(self) -> None:
        """Start the clock."""
        self.clock = Clock()

    def fetch(self, answer: Answer, max_bytes: int = 100) -> Deferred[bytes]:
        """Start a fetch from a site that gives this response."""
        self.site = FeedSite(answer)
        self.agent = RequestTraversalAgent(self.site)
        self.fetcher = Fetcher(self.agent, self.clock, 10.0, max_bytes)
        return self.fetcher.get(URL)

    def refused(self, fetched: Deferred[bytes]) -> tuple[str, str]:
        """Return outcome and text of a failed fetch; assert that nothing is left behind."""
        error = self.failureResultOf(fetched, FetchError).value
        assert isinstance(error, FetchError)
        self.assertEqual(self.clock.getDelayedCalls(), [])
        return error.outcome, str(error)

    def drained(self) -> None:
        """Let the server notice what the client did."""
        self.agent.flush()
