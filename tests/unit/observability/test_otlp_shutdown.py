"""An end that does not wait for a slow collector, and keeps its secrets all the same."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from threading import Event
from typing import Any
from unittest import mock

from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from autopilot.observability.otlp import OtlpExporter

_KEY = "fixture-of-a-collector"


class _ThreadedClock(Clock):
    """A clock that is told things by other threads; ``told`` once the last of them has spoken."""

    def __init__(self) -> None:
        super().__init__()
        self.heard: list[Callable[[], None]] = []
        self.told = Event()

    def callFromThread(self, call: Callable[..., None], *given: Any) -> None:  # noqa: N802
        """Keep the call until the test comes to it."""
        self.heard.append(lambda: call(*given))
        if not given:
            self.told.set()


class _Slow(SpanExporter):
    """Complains when it is let go, in words that hold a key."""

    def __init__(self) -> None:
        self.let_go = Event()

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Wait, and fail."""
        self.let_go.wait(60)
        logging.getLogger("opentelemetry.exporter").error("bad header value: %s", _KEY)
        return SpanExportResult.FAILURE


class GoodbyeTests(SynchronousTestCase):
    """The last spans take longer than anybody waits."""

    def test_late_complaint(self) -> None:
        """What the SDK says after that is still not printed in its own words."""
        clock, exporter = _ThreadedClock(), _Slow()
        self.addCleanup(exporter.let_go.set)
        logger = logging.getLogger("opentelemetry")
        before = list(logger.handlers)
        # A runner of tests may listen to everything, and then nothing is printed for want of that.
        self.patch(logger, "propagate", False)
        exporting = OtlpExporter(clock, "1", lambda: exporter)
        exporting.provider.get_tracer("test").start_span("one").end()
        with mock.patch.object(logging, "lastResort", mock.Mock(level=0)) as printed:
            stopped = exporting.stop()
            self.assertNoResult(stopped)
            clock.advance(5)
            self.successResultOf(stopped)
            exporter.let_go.set()
            self.assertTrue(clock.told.wait(60))
        self.assertEqual(printed.handle.call_count, 0)
        while clock.heard:
            clock.heard.pop(0)()
        self.assertEqual(logger.handlers, before)
