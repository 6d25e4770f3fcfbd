"""Feeds that hang, are invalid or break: the last good data stay in use, with their age."""

from __future__ import annotations

import gzip
import socket
from collections.abc import Callable, Mapping
from functools import partial

from tests.process.faults.cases import SECOND
from tests.process.faults.feeds import CATALOG, GOOD, QUICK, UTILIZATION, Fault, Feeds, FeedTestCase
from tests.process.faults.upstreams import TWO, Script, Upstream, ends, resets, says
from tests.process.processes import Router, until
from tests.unit.relay.routers import ALIAS
from tests.unit.relay.upstreams import chunk, head, whole

_JSON = b"application/json"


def _cut(answer: Callable[[bytes], bytes], how: Script) -> Fault:
    """Return a script that sends this much and then ends in this way."""

    def fault(good: bytes) -> Script:
        def script(connection: socket.socket) -> None:
            connection.sendall(answer(good))
            how(connection)

        return script

    return fault


def _whole(answer: Callable[[bytes], bytes], status: int = 200, *fields: bytes) -> Fault:
    """Return a script that sends a complete response."""
    return lambda good: says(whole(status, answer(good), _JSON, *fields))


class FeedFaultTests(FeedTestCase):
    """A feed that fails in every way."""

    def assert_survives_each(self, outcome: str, faults: Mapping[str, Fault]) -> None:
        """Check each fault in turn, and that all have this outcome."""
        self.feed()
        for name, fault in faults.items():
            with self.subTest(fault=name):
                self.assert_survives(fault)
        self.assert_counted(outcome, len(faults))
        self.assert_quiet()

    def test_connection(self) -> None:
        """The connection breaks, at different points."""
        self.assert_survives_each(
            "network",
            {
                "closed": _cut(lambda _: b"", ends),
                "reset": _cut(lambda _: b"", resets),
                "in the head": _cut(lambda good: whole(200, good)[:20], ends),
                "in the body": _cut(lambda good: whole(200, good)[:-5], ends),
                "reset in it": _cut(lambda good: whole(200, good)[:-5], resets),
                "no last chunk": _cut(lambda good: head(200, _JSON) + chunk(good), ends),
                "no HTTP": _cut(lambda _: b"220 mail.example ESMTP\r\n", ends),
            },
        )

    def test_silence(self) -> None:
        """The response is never completed."""
        self.assert_survives_each(
            "timeout",
            {
                "at once": _cut(lambda _: b"", self._waits),
                "in the head": _cut(lambda good: whole(200, good)[:20], self._waits),
                "in the body": _cut(lambda good: whole(200, good)[:-5], self._waits),
            },
        )

    def _waits(self, connection: socket.socket) -> None:
        self.feeds.waits(connection)

    def test_status(self) -> None:
        """The feed redirects or fails; the router does not follow the redirect."""
        elsewhere = Feeds()
        self.addCleanup(elsewhere.close)
        places = [b"Location: " + url.encode() for url in elsewhere.urls.values()]
        self.assert_survives_each(
            "status",
            {
                "moved": _whole(lambda _: b"", 302, places[0]),
                "moved for good": _whole(lambda _: b"", 308, places[1]),
                "not found": _whole(lambda good: good, 404),
                "at fault": _whole(lambda _: b"<html>", 500),
                "too often": _whole(lambda _: b"{}", 429, b"Retry-After: 9"),
                "nothing": lambda _: says(b"HTTP/1.1 204 No Content\r\n\r\n"),
            },
        )
        self.assertEqual(elsewhere.fetched, [])

    def test_nonsense(self) -> None:
        """The response is not JSON."""
        self.assert_survives_each(
            "json",
            {
                "no length": _cut(lambda good: b"HTTP/1.1 200 OK\r\n\r\n" + good[:-5], ends),
                "a page": _whole(lambda _: b"<html>hello</html>"),
                "nothing": _whole(lambda _: b""),
                "no records": _whole(lambda good: good.replace(b'"acme/', b'7,"x/')),
                "gzip unsaid": _whole(gzip.compress),
                "not UTF-8": _whole(lambda good: good.replace(b"acme", b"\xff")),
                "deep": _whole(lambda good: good.partition(b"[")[0] + b"[" * 200_000),
                "cut": _whole(lambda good: good[:-1]),
            },
        )

    def test_another_shape(self) -> None:
        """The response is JSON of another shape, or is compressed against the request."""
        self.assert_survives_each(
            "shape",
            {
                "another shape": _whole(lambda _: b'{"models":[]}'),
                "a number": _whole(lambda _: b"7"),
                "no names": _whole(lambda good: good.replace(b'"acme/', b'"\\u0000/')),
                "gzip": _whole(gzip.compress, 200, b"Content-Encoding: gzip"),
            },
        )


class StaleFeedTests(FeedTestCase):
    """Feeds that stay away: readiness reports their age, and requests are served."""

    def test_stale_snapshot(self) -> None:
        """The state of old loads is `stale`."""
        self.assert_told(UTILIZATION, "READYZ_MAX_SNAPSHOT_AGE_MS", "stale_snapshot")

    def test_stale_catalog(self) -> None:
        """The state of an old catalog is `stale`."""
        self.assert_told(CATALOG, "READYZ_MAX_ALLOWLIST_AGE_MS", "stale_allowlist")

    def assert_told(self, feed: str, limit: str, code: str) -> None:
        """Check that the feed becomes stale, and the router unready, until the feed recovers."""
        self.feed(**{limit: "1200"})
        self.feeds.scripts[feed] = ends
        until(lambda: self.page(b"/readyz").status == 503)
        answer = self.page(b"/readyz")
        self.assertEqual(answer.error, (503, "not_ready", code))
        report = answer.json["feeds"][feed]
        self.assertEqual((report["state"], report["size"]), ("stale", 2))
        self.assertGreaterEqual(report["age_ms"], 1200)
        until(lambda: self.page(b"/readyz").json["feeds"][feed]["age_ms"] > report["age_ms"])
        self.assert_serves()
        self.assertEqual(self.page(b"/healthz").status, 200)
        self.feeds.recover()
        until(lambda: self.page(b"/readyz").status == 200)
        self.assertLess(self.page(b"/readyz").json["feeds"][feed]["age_ms"], 1200)

    def test_never_there(self) -> None:
        """Without a first fetch, the router serves any model name and is not ready."""
        self.feeds = Feeds()
        self.addCleanup(self.feeds.close)
        self.feeds.do(lambda _: resets)
        self.upstream = Upstream(two=says(whole(200, SECOND)))
        self.addCleanup(self.upstream.close)
        self.router = Router(self.mktemp(), self.upstream.port, **QUICK, **self.feeds.urls)
        self.addCleanup(self.router.close)
        self.port = self.router.port()
        for missing, code in ((CATALOG, "missing_allowlist"), (UTILIZATION, "missing_snapshot")):
            until(partial(self._says, code))
            self.assertEqual(self.page(b"/healthz").status, 200)
            self.assertEqual(self.ask(ALIAS).error[::2], (503, "no_candidates"))
            self.assert_served_by_second(self.ask(f"{TWO},{TWO}"))
            self.feeds.scripts[missing] = GOOD[missing]
        until(lambda: self.page(b"/readyz").status == 200)
        self.assertEqual(self.page(b"/v1/models").status, 200)

    def _says(self, code: str) -> bool:
        return self.page(b"/readyz").error == (503, "not_ready", code)
