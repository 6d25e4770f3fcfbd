"""Pages of an origin of their own for a browser, and the reports of their scripts."""

from __future__ import annotations

import json
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from queue import Empty, Queue
from threading import Thread
from typing import Any


class Pages:
    """Serves one page at every path; its script posts a report to the server."""

    def __init__(self, script: str) -> None:
        self._page = f"<!doctype html><title>t</title><script type=module>{script}</script>"
        self._reports: Queue[Any] = Queue()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            """Handles GET of the page and POST of a report."""

            def do_GET(self) -> None:
                """Send the page."""
                self._say("text/html", outer._page.encode())

            def do_POST(self) -> None:
                """Store a report."""
                length = int(self.headers["Content-Length"])
                outer._reports.put(json.loads(self.rfile.read(length)))
                self._say("text/plain", b"ok")

            def _say(self, kind: str, body: bytes) -> None:
                self.send_response(200)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: object) -> None:
                """Log nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.port = self._server.server_port
        Thread(target=self._server.serve_forever, daemon=True).start()

    def report(self, seconds: float) -> Any:
        """Return the next report; fail if none arrives in time."""
        try:
            return self._reports.get(timeout=seconds)
        except Empty:
            raise AssertionError("the page reported nothing") from None

    def close(self) -> None:
        """Stop serving."""
        self._server.shutdown()
        self._server.server_close()
