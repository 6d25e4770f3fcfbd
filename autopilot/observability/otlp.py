"""Where spans go: by OTLP over HTTP, as the standard ``OTEL_*`` variables of the environment say.

The SDK exports from a thread of its own; the reactor never waits for a collector.
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

_LONGEST_GOODBYE = 5.0


class OtlpExporter:
    """Exports the spans of its ``provider`` until it is stopped."""

    def __init__(
        self, reactor: Any, version: str, exporter: Callable[[], SpanExporter] = OTLPSpanExporter
    ) -> None:
        self._reactor = reactor
        self._complaints = _Complaints(reactor)
        # Its own end is not the process': who stops the router decides how long that may take.
        self.provider = TracerProvider(resource=_resource(version), shutdown_on_exit=False)
        self.provider.add_span_processor(BatchSpanProcessor(exporter()))

    def stop(self) -> Deferred[None]:
        """Send what is left. Fires when that is done, or has taken too long."""
        done: Deferred[None] = Deferred()

        def say_goodbye() -> None:
            self.provider.shutdown()
            self._reactor.callFromThread(said)

        def said() -> None:
            # Not earlier: unheard, the SDK's words would go to stderr, with headers among them.
            self._complaints.close()
            if late.active():
                late.cancel()
                done.callback(None)

        late = self._reactor.callLater(_LONGEST_GOODBYE, done.callback, None)
        # Not of the reactor's threads, for whose end it waits.
        Thread(target=say_goodbye, name="last spans", daemon=True).start()
        return done


def _resource(version: str) -> Resource:
    """Who traces; ``OTEL_SERVICE_NAME`` and ``OTEL_RESOURCE_ATTRIBUTES`` have the last word."""
    said = Resource.create()
    if str(said.attributes.get("service.name", "")).startswith("unknown_service"):
        said = said.merge(Resource({"service.name": "chutes-autopilot"}))
    return Resource({"service.version": version}).merge(said)


class _Complaints(logging.Handler):
    """What the SDK has to say, in our log: that something is wrong, and no address or header."""

    _log = Logger(namespace="autopilot.observability.otlp")

    def __init__(self, reactor: Any) -> None:
        super().__init__(logging.WARNING)
        self._reactor = reactor
        self._repeats = LogRateLimit()
        self._logger = logging.getLogger("opentelemetry")
        self._logger.addHandler(self)

    def emit(self, record: logging.LogRecord) -> None:
        """Tell of it from the reactor's thread, now and again."""
        self._reactor.callFromThread(self._tell, record.name)

    def _tell(self, name: str) -> None:
        count = self._repeats.met(name, time.monotonic())
        if count is not None:
            self._log.warn(
                "Traces: {name} complained {count} times; is the collector there, and does it"
                " take them?",
                name=name,
                count=count,
            )

    def close(self) -> None:
        """Hear no more."""
        self._logger.removeHandler(self)
        super().close()
