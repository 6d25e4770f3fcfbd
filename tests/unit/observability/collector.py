"""An OTLP collector that records the received spans, or does not respond."""

from __future__ import annotations

from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event, Thread

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans


class Collector:
    """Receives OTLP over HTTP on a local port."""

    def __init__(self, *, answers: bool = True) -> None:
        self.received: list[ResourceSpans] = []
        self.keys: set[str | None] = set()
        self._released = Event()
        collector = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                collector.keys.add(self.headers.get("X-Collector-Key"))
                if not answers:
                    collector._released.wait(60)
                    return
                collector.received += ExportTraceServiceRequest.FromString(body).resource_spans
                self.send_response(200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, format: str, *args: object) -> None:
                """Log nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.endpoint = f"http://127.0.0.1:{self._server.server_port}"
        Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    @property
    def names(self) -> list[str]:
        """Return the names of the spans received so far."""
        scopes = (scope for each in self.received for scope in each.scope_spans)
        return [span.name for scope in scopes for span in scope.spans]

    def resource(self) -> dict[str, str]:
        """Return the resource of the spans."""
        attributes = self.received[0].resource.attributes
        return {each.key: each.value.string_value for each in attributes}

    def close(self) -> None:
        """Stop the collector."""
        self._released.set()
        self._server.shutdown()
        self._server.server_close()
