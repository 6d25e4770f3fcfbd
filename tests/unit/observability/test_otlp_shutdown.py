"""Tests that the shutdown neither waits for a slow collector nor leaks secrets."""

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
    """A clock with callFromThread; ``told`` is set by the last call."""

    def __init__(self) -> None:
        super().__init__()
        self.heard: list[Callable[[], None]] = []
        self.told = Event()

    def callFromThread(self, call: Callable[..., None], *given: Any) -> None:  # noqa: N802
        """Record the call for the test."""
        self.heard.append(lambda: call(*given))
        if not given:
            self.told.set()


class _Slow(SpanExporter):
    """An exporter that logs a key on shutdown."""

    def __init__(self) -> None:
        self.let_go = Event()

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Wait, then fail."""
        self.let_go.wait(60)
        logging.getLogger("opentelemetry.exporter").error("bad header value: %s", _KEY)
        return SpanExportResult.FAILURE


class GoodbyeTests(SynchronousTestCase):
    """A shutdown during which the last export takes too long."""

    def test_late_complaint(self) -> None:
        """Later warnings of the SDK are still not written to stderr."""
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
