"""Tests of records as they are read from logs and from a router's status."""

from __future__ import annotations

import msgspec
from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from autopilot.cli.watch_record import FailedAttempt, record_of_line, record_of_status
from autopilot.observability.access_log import json_of, text_of
from autopilot.observability.records import Failover, Outcome, RequestRecord, facts
from autopilot.routing.failure_reason import FailureReason
from tests.unit.observability.records import record, refused

FAILED = Failover("org/x:THINKING", FailureReason.CAPACITY, 429, 812.4)
AWAY = Failover("org/y", FailureReason.CONNECT_ERROR, None, 30.0)
RECORDS = (
    record(),
    refused(),
    record(failovers=(FAILED, AWAY), attempts=3),
    record(outcome=Outcome.UPSTREAM_BROKEN, reason=FailureReason.CUT, stream=False),
    record(req_id='a "b"=c\\', model="odd name\u2028"),
    record(outcome=Outcome.CLIENT_GONE, status=None, ttfb_ms=None),
)
TIME = "1970-01-01T00:00:01.250Z"
# What a line of text does not have, and what is not read of it.
_NOT_READ = (
    "snapshot_age_ms",
    "catalog_age_ms",
    "terminated",
    "affinity",
    "affinity_why",
    "usage",
    "cost_picodollars",
    "key",
    "private",
    "instance",
    "waited_ms",
    "backend",
    "hedged",
    "dropped",
)


def seen(reported: RequestRecord, worker: int | None = None) -> dict[str, object]:
    """Return the members that a record is read with."""
    kept = {name: value for name, value in facts(reported).items() if name not in _NOT_READ}
    return {"time": TIME, **kept, "worker": worker}


class LineTests(SynchronousTestCase):
    """Lines of a log."""

    def test_both_formats(self) -> None:
        """Each fact is read from either format, also behind the name of a container."""
        for reported in RECORDS:
            for write in (text_of, json_of):
                line = write(reported, 1.25).rstrip("\n")
                for before in ("", "router-1  | "):
                    found = record_of_line(before + line)
                    self.assertEqual(msgspec.to_builtins(found), seen(reported), line)
                numbered = record_of_line(write(reported, 1.25, worker=3).rstrip("\n"))
                self.assertEqual(msgspec.to_builtins(numbered), seen(reported, 3))

    def test_no_record(self) -> None:
        """Other lines of the log, and what only resembles a record, hold none."""
        line = text_of(record(), 1.25).rstrip("\n")
        for other in (
            "",
            f"{TIME} info autopilot.feeds.polling: Feed catalog recovered",
            '{"logger":"autopilot.feeds","message":"autopilot.requests"}',
            '{"logger":"autopilot.requests","status":"many"}',
            '{"logger":"autopilot.requests"',
            "autopilot.requests: r1 alias completed",
            line.replace("attempts=1/3", "attempts=many"),
            line.replace("duration=2000.0ms", "duration=long"),
            line.replace("stream=true", "stream=true worker=one"),
            line.replace("attempts=1/3", ""),
            line.replace("duration=2000.0ms", ""),
            line + ' "',
            line + " and more",
        ):
            self.assertIsNone(record_of_line(other), other)

    def test_older(self) -> None:
        """A line of an older version has fewer facts, and reasons alone."""
        found = record_of_line(
            f"{TIME} info autopilot.requests: r1 alias model=m status=200 attempts=2/3"
            " failovers=status_503,capacity duration=5.0ms bytes=1 completed"
        )
        assert found is not None
        self.assertEqual(
            found.failovers, (FailedAttempt(reason="status_503"), FailedAttempt(reason="capacity"))
        )
        self.assertEqual((found.why, found.stream, found.endpoint), (None, None, ""))

    @given(st.text(max_size=60) | st.text('a="\\ :,-0ms{}', max_size=40))
    def test_anything(self, text: str) -> None:
        """No line raises."""
        for line in (
            text,
            f"{TIME} info autopilot.requests: {text}",
            '{"autopilot.requests' + text,
        ):
            record_of_line(line)


class StatusTests(SynchronousTestCase):
    """Members of /status.json."""

    def test_whole(self) -> None:
        """A member is a record with its time."""
        for reported in RECORDS:
            found = record_of_status({"ended_at": TIME, **facts(reported)})
            self.assertEqual(msgspec.to_builtins(found), seen(reported))
            numbered = record_of_status({"ended_at": TIME, "worker": 3, **facts(reported)})
            self.assertEqual(msgspec.to_builtins(numbered), seen(reported, 3))

    def test_other(self) -> None:
        """What is not a record is none, such as a member of an older version."""
        whole = {"ended_at": TIME, **facts(record())}
        for other in (
            {},
            {**whole, "status": "many"},
            {**whole, "failovers": ["capacity"]},
            {name: value for name, value in whole.items() if name != "ended_at"},
            {"ended_at": TIME},
        ):
            self.assertIsNone(record_of_status(other), other)
