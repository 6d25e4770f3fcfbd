"""Tests of records as lines for a person, and of their filter."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from autopilot.cli.watch_record import SeenRecord, record_of_line
from autopilot.cli.watch_text import Filter, duration, line_of, size
from autopilot.observability.access_log import text_of
from autopilot.observability.records import Failover, Outcome
from autopilot.routing.failure_reason import FailureReason
from tests.unit.observability.records import record, refused

FAILED = Failover("org/x", FailureReason.CAPACITY, 429, 812.4)
AWAY = Failover("org/y", FailureReason.CONNECT_ERROR, None, 1030.0)


def seen(**changes: Any) -> SeenRecord:
    """Return a record as it is read."""
    return _read(text_of(record(**changes), 3723.25))


def _read(line: str) -> SeenRecord:
    found = record_of_line(line.rstrip("\n"))
    assert found is not None, line
    return found


def plain(text: str, _look: str) -> str:
    """Paint nothing."""
    return text


def marked(text: str, look: str) -> str:
    """Show which text has which style."""
    return f"<{look} {text}>" if text else ""


class LineTests(SynchronousTestCase):
    """One line for each record."""

    def test_complete(self) -> None:
        """A complete answer has its facts, and no word on its outcome."""
        self.assertEqual(
            line_of(seen(model="org/m"), plain),
            "01:02:03 200 org/m                            best    124 ms   2.0 s    42 B"
            " chat/completions stream r1",
        )

    def test_worker(self) -> None:
        """A record of one of several workers has its number."""
        line = line_of(_read(text_of(record(), 3723.25, worker=7)), plain)
        self.assertTrue(line.endswith(" chat/completions stream worker 7 r1"), line)

    def test_failed(self) -> None:
        """Another one says how it ended, with the code or the reason."""
        own = line_of(_read(text_of(refused(), 0.0)), plain)
        self.assertTrue(own.startswith("00:00:00 400 -  "), own)
        self.assertTrue(own.endswith(" chat/completions refused unknown_model r1"), own)
        broken = seen(outcome=Outcome.UPSTREAM_BROKEN, reason=FailureReason.CUT, stream=False)
        self.assertTrue(line_of(broken, plain).endswith(" plain upstream_broken cut r1"))
        gone = seen(outcome=Outcome.CLIENT_GONE, status=None)
        self.assertIn("01:02:03   - m ", line_of(gone, plain))

    def test_failovers(self) -> None:
        """Failed attempts are in their order, with what is known of them."""
        line = line_of(seen(failovers=(FAILED, AWAY), attempts=3), plain)
        self.assertIn(" stream after org/x capacity 429 812 ms, org/y connect_error 1.0 s r1", line)

    def test_colours(self) -> None:
        """The status has the colour of the outcome."""
        for look, record_ in (
            ("good", seen()),
            ("doubt", seen(failovers=(FAILED,))),
            ("doubt", seen(outcome=Outcome.CLIENT_GONE)),
            ("bad", seen(outcome=Outcome.RELAYED_ERROR)),
            ("bad", seen(outcome="newer")),
        ):
            self.assertIn(f"<{look} 200>", line_of(record_, marked))
        self.assertIn("<faint 01:02:03>", line_of(seen(), marked))

    def test_printable(self) -> None:
        """No text of a client reaches the terminal as an escape sequence."""
        wild = seen(req_id="\x1b[2J", model="\x1b]0;x\x07")
        self.assertTrue(line_of(wild, plain).isprintable())

    def test_units(self) -> None:
        """Durations and sizes are in units in which they are short."""
        given = (None, 0.0, 999.4, 1000.0, 61_000.0)
        self.assertEqual([*map(duration, given)], ["-", "0 ms", "999 ms", "1.0 s", "61.0 s"])
        self.assertEqual(
            [*map(size, (0, 999, 18_432, 2_500_000))], ["0 B", "999 B", "18 kB", "2.5 MB"]
        )


class FilterTests(SynchronousTestCase):
    """Which records are shown."""

    def test_each(self) -> None:
        """A condition holds for some records and not for others; without one, all are shown."""
        whole = seen()
        failed = seen(failovers=(FAILED,), outcome=Outcome.RELAYED_ERROR, duration_ms=9000.0)
        other = seen(why="sticky", endpoint="/v1/messages", model=None)
        for condition, admitted in (
            (Filter(), (True, True, True)),
            (Filter(failures=True), (False, True, False)),
            (Filter(failovers=True), (False, True, False)),
            (Filter(model="ORG/X"), (False, True, False)),
            (Filter(model="m"), (True, True, False)),
            (Filter(endpoint="messages"), (False, False, True)),
            (Filter(why="sticky"), (False, False, True)),
            (Filter(outcome="completed"), (True, False, True)),
            (Filter(min_ms=2000.1), (False, True, False)),
            (Filter(failures=True, endpoint="messages"), (False, False, False)),
        ):
            found = tuple(condition.admits(each) for each in (whole, failed, other))
            self.assertEqual(found, admitted, condition)
