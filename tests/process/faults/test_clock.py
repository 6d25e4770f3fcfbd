"""The wall clock changes by an hour: no timer and no age depends on it.

libfaketime fakes the clock; ``apt-get install libfaketime`` installs it.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from pathlib import Path
from unittest import skipUnless

from tests.process.faults.cases import FaultTestCase
from tests.process.faults.feeds import CATALOG, UTILIZATION, Feeds
from tests.process.faults.upstreams import ONE
from tests.process.processes import received, until
from tests.unit.web.browsers import CHAT, ask, request
from tests.unit.web.responses import Response, responses

_FAKER = next(Path("/usr/lib").glob("*/faketime/libfaketime.so.1"), None)
_HOUR = 3600
_DEADLINE = 0.8
_SLACK = 3.0
"""The tolerance in seconds for a busy machine; a deadline on the wall clock is an hour late."""
_INTERVAL = 0.3
_STEPS = (_HOUR, 0, -_HOUR)
"""The offsets of the clock from the true time, in seconds: a step forward, and two backward."""


@skipUnless(_FAKER, "libfaketime is not installed (Debian's package libfaketime)")
class ClockTests(FaultTestCase):
    """A router whose wall clock the test sets."""

    def setUp(self) -> None:
        """Start at the true time."""
        self.feeds = Feeds()
        self.addCleanup(self.feeds.close)
        self._offset = Path(self.mktemp()).absolute()
        self._offset.write_text("+0")
        self.start(
            UPSTREAM_HEADER_TIMEOUT_MS=str(int(_DEADLINE * 1000)),
            CLIENT_HEADER_TIMEOUT_MS=str(int(_DEADLINE * 1000)),
            MODELS_REFRESH_MS=str(int(_INTERVAL * 1000)),
            UTILIZATION_REFRESH_MS=str(int(_INTERVAL * 1000)),
            LD_PRELOAD=str(_FAKER),
            FAKETIME_TIMESTAMP_FILE=str(self._offset),
            FAKETIME_NO_CACHE="1",
            FAKETIME_DONT_FAKE_MONOTONIC="1",
            DONT_FAKE_MONOTONIC="1",
            **self.feeds.urls,
        )
        self.does(self.upstream.waits)

    def test_deadlines(self) -> None:
        """Deadlines that were running when the clock changed expire on time."""
        for offset in _STEPS:
            self.upstream.asked.clear()
            with self.subTest(offset=offset), self.client() as silent, self.client() as asking:
                began = time.monotonic()
                asking.sendall(request(CHAT, b"Connection: close", body=ask(ONE)))
                until(lambda: self.upstream.asked)
                self.set(offset)
                (answer,) = responses(received(asking))
                taken = time.monotonic() - began
                self.assertEqual(answer.error[::2], (504, "upstream_header_timeout"))
                self.assertTrue(_DEADLINE - 0.1 < taken < _DEADLINE + _SLACK, taken)
                self.assertEqual(received(silent), b"")
                taken = time.monotonic() - began
                self.assertTrue(_DEADLINE - 0.1 < taken < _DEADLINE + _SLACK, taken)

    def test_ages(self) -> None:
        """The ages of the feeds stay correct, and the feeds are fetched no more often."""
        for offset in _STEPS:
            self.set(offset)
            self.feeds.fetched.clear()
            began = time.monotonic()
            until(lambda: len(self.feeds.fetched) >= 4)
            self.assertEqual(self.page(b"/readyz").status, 200)
            for page in (self.page(b"/readyz").json, self.page(b"/status.json").json["readiness"]):
                for name in (CATALOG, UTILIZATION):
                    age = page["feeds"][name]["age_ms"]
                    self.assertTrue(0 <= age < 1000 * (_INTERVAL + _SLACK), (offset, name, age))
            rounds = (time.monotonic() - began) / (_INTERVAL * 0.9) + 1
            self.assertLessEqual(len(self.feeds.fetched), 2 * rounds)
        self.assert_well()

    def set(self, offset: int) -> None:
        """Set the clock, and check that the router reports the new time."""
        self._offset.write_text(f"{offset:+d}")
        expected = datetime.now(UTC) + timedelta(seconds=offset)
        until(lambda: abs(self._date() - expected) < timedelta(minutes=5))

    def _date(self) -> datetime:
        date = self.page(b"/healthz").value(b"date")
        assert date is not None
        return parsedate_to_datetime(date.decode())

    def page(self, path: bytes) -> Response:
        """Return a page."""
        return self.exchange(request(path, method=b"GET"))
