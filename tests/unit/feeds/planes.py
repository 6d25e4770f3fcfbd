"""A control plane whose feeds and clock the test controls."""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.interfaces import IDelayedCall
from twisted.internet.task import Clock
from twisted.internet.testing import EventLoggingObserver
from twisted.logger import globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase

from autopilot.feeds.snapshot_service import SnapshotService
from autopilot.process.hold_watch import Activity
from tests.unit.feeds.records import MEASURED

MODELS_EVERY = 300.0
UTILIZATION_EVERY = 15.0

Fetch = Callable[[], Deferred[bytes]]


class PromptClock(Clock):
    """A clock on which what need not wait happens at once: the next step of a computation."""

    def callLater(
        self, delay: float, callable: Callable[..., object], *args: object, **kw: object
    ) -> IDelayedCall:
        """See `IReactorTime`."""
        call = super().callLater(delay, callable, *args, **kw)
        if delay == 0:
            self.advance(0)
        return call


class FeedInHand:
    """A feed whose fetches the test completes, or which completes at once after `answer` is set."""

    def __init__(self, clock: Clock) -> None:
        self.answer: Fetch | None = None
        self.started: list[float] = []
        self.open: list[Deferred[bytes]] = []
        self.cancelled = 0
        self._clock = clock

    def fetch(self) -> Deferred[bytes]:
        """Start a fetch."""
        self.started.append(self._clock.seconds())
        if self.answer is not None:
            return self.answer()
        waiting: Deferred[bytes] = Deferred(self._cancel)
        self.open.append(waiting)
        return waiting

    def gives(self, body: bytes) -> None:
        """Complete this and every later fetch with a body."""
        self.answer = lambda: succeed(body)
        self._release(body)

    def fails(self, error: Exception) -> None:
        """Fail this and every later fetch."""
        self.answer = lambda: fail(error)
        self._release(error)

    def _release(self, result: bytes | Exception) -> None:
        for waiting in self.open:
            if isinstance(result, bytes):
                waiting.callback(result)
            else:
                waiting.errback(result)
        self.open.clear()

    def _cancel(self, waiting: Deferred[bytes]) -> None:
        self.cancelled += 1
        self.open.remove(waiting)


class PlaneTestCase(SynchronousTestCase):
    """A control plane whose feeds the test controls."""

    make_clock: type[Clock] = PromptClock

    def setUp(self) -> None:
        """Build a plane that has not been started, without jitter."""
        self.clock = self.make_clock()
        self.models = FeedInHand(self.clock)
        self.utilization = FeedInHand(self.clock)
        self.jitter = 0.0
        self.seen: list[tuple[str, str, int]] = []
        self.activity = Activity()
        self.plane = SnapshotService(
            self.clock,
            self.models.fetch,
            self.utilization.fetch,
            MODELS_EVERY,
            UTILIZATION_EVERY,
            lambda: self.jitter,
            lambda *event: self.seen.append(event),
            lambda: MEASURED + 1800.0 + self.clock.seconds(),
            self.activity,
        )
        self.events = EventLoggingObserver()
        globalLogPublisher.addObserver(self.events)
        self.addCleanup(globalLogPublisher.removeObserver, self.events)

    def messages(self, level: object) -> list[str]:
        """Return the formats of the messages logged at a level."""
        return [
            event["log_format"]
            for event in self.events
            if event["log_level"] is level and event["log_namespace"].startswith("autopilot")
        ]
