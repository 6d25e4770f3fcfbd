"""The export of spans by OTLP over HTTP, configured by the standard ``OTEL_*`` variables.

The SDK exports from a thread of its own, so a slow collector never blocks the reactor.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from threading import Thread
from typing import Any

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter
from twisted.internet.defer import Deferred
from twisted.logger import Logger

from autopilot.observability.log_rate_limit import LogRateLimit

_SHUTDOWN_SECONDS = 5.0


class OtlpExporter:
    """Exports the spans of its ``provider`` until `stop`."""

    def __init__(
        self, reactor: Any, version: str, exporter: Callable[[], SpanExporter] = OTLPSpanExporter
    ) -> None:
        self._reactor = reactor
        self._warnings = _SdkWarnings(reactor)
        # Without shutdown_on_exit the SDK would block the process's exit for as long as it likes.
        self.provider = TracerProvider(resource=_resource(version), shutdown_on_exit=False)
        self.provider.add_span_processor(BatchSpanProcessor(exporter()))

    def stop(self) -> Deferred[None]:
        """Export the remaining spans. Fires when that is done, or after five seconds."""
        done: Deferred[None] = Deferred()

        def flush() -> None:
            self.provider.shutdown()
            self._reactor.callFromThread(flushed)

        def flushed() -> None:
            # Not earlier: without a handler Python writes the SDK's warnings, which may contain
            # headers, to stderr.
            self._warnings.close()
            if timeout.active():
                timeout.cancel()
                done.callback(None)

        timeout = self._reactor.callLater(_SHUTDOWN_SECONDS, done.callback, None)
        # Not in the reactor's thread pool: the reactor joins those threads when it stops.
        Thread(target=flush, name="last spans", daemon=True).start()
        return done


def _resource(version: str) -> Resource:
    """Return the resource; ``OTEL_SERVICE_NAME`` and ``OTEL_RESOURCE_ATTRIBUTES`` override it."""
    configured = Resource.create()
    if str(configured.attributes.get("service.name", "")).startswith("unknown_service"):
        configured = configured.merge(Resource({"service.name": "chutes-autopilot"}))
    return Resource({"service.version": version}).merge(configured)


class _SdkWarnings(logging.Handler):
    """Reports the SDK's warnings in the router's log without their text.

    The text may contain the collector's address and its headers.
    """

    _log = Logger(namespace="autopilot.observability.otlp")

    def __init__(self, reactor: Any) -> None:
        super().__init__(logging.WARNING)
        self._reactor = reactor
        self._repeats = LogRateLimit()
        self._logger = logging.getLogger("opentelemetry")
        self._logger.addHandler(self)

    def emit(self, record: logging.LogRecord) -> None:
        """Report the warning from the reactor's thread."""
        self._reactor.callFromThread(self._report, record.name)

    def _report(self, name: str) -> None:
        count = self._repeats.admit(name, time.monotonic())
        if count is not None:
            self._log.warn(
                "Exporting traces: {count} warnings from {name}; check that the collector at"
                " OTEL_EXPORTER_OTLP_ENDPOINT is reachable and accepts traces",
                name=name,
                count=count,
            )

    def close(self) -> None:
        """Stop receiving warnings."""
        self._logger.removeHandler(self)
        super().close()
