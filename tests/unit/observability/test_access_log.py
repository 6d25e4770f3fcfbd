"""Tests that records are formatted directly to the same bytes as through the log."""

from __future__ import annotations

import json
from io import StringIO
from itertools import product
from pathlib import Path

from hypothesis import example, given
from hypothesis import strategies as st
from twisted.logger import ILogObserver, LogEvent, Logger
from twisted.python.logfile import LogFile
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import provider

from autopilot.observability import access_log
from autopilot.observability.access_log import records_to_lines
from autopilot.observability.logs import line_observer
from autopilot.observability.records import Failover, Outcome, RequestRecord
from autopilot.observability.reporter import NAMESPACE, records_to_log
from autopilot.routing.failure_reason import FailureReason
from autopilot.routing.usage import Usage
from tests.unit.observability.records import anything, record, refused


def logged(
    reported: RequestRecord, log_format: str, level: str, moment: float, worker: int | None = None
) -> str:
    """Return the line of a record that is logged as an event."""
    sink = StringIO()
    observer = line_observer(sink, log_format, level)

    @provider(ILogObserver)
    def at_that_moment(event: LogEvent) -> None:
        observer({**event, "log_time": moment})

    records_to_log(Logger(namespace=NAMESPACE, observer=at_that_moment), worker)(reported)
    return sink.getvalue()


def written(
    reported: RequestRecord, log_format: str, level: str, moment: float, worker: int | None = None
) -> str:
    """Return the line of a record that is written directly."""
    sink = StringIO()
    records_to_lines(sink, log_format, level, lambda: moment, worker)(reported)
    return sink.getvalue()


class FickleSink:
    """A sink that fails on demand."""

    def __init__(self) -> None:
        self.written: list[str] = []
        self.flushed = 0
        self.wrong: Exception | None = None
        self.wrong_flush: Exception | None = None

    def write(self, text: str) -> None:
        """Write a line, or fail."""
        if self.wrong is not None:
            raise self.wrong
        self.written.append(text)

    def flush(self) -> None:
        """Record the number of flushed lines, or fail."""
        if self.wrong_flush is not None:
            raise self.wrong_flush
        self.flushed = len(self.written)


class LineTests(SynchronousTestCase):
    """The content of a line."""

    @given(anything, st.sampled_from(("text", "json")), st.floats(0, 4e9))
    @example(record(model="\ud800"), "json", 0.0)
    @example(record(req_id='a"b\\c', model="{0}"), "json", 0.9999995)
    @example(record(model="x\r\n1970 info y: z\x1b[2J\x85\u2028"), "text", 0.0)
    @example(refused(), "json", 0.0)
    def test_as_logged(self, reported: RequestRecord, log_format: str, moment: float) -> None:
        """A line equals that of the record's event, byte for byte."""
        self.assertEqual(
            written(reported, log_format, "info", moment),
            logged(reported, log_format, "info", moment),
        )

    @given(anything, st.sampled_from(("text", "json")), st.integers(1, 64))
    @example(record(model="\ud800"), "json", 3)
    def test_of_a_worker(self, reported: RequestRecord, log_format: str, worker: int) -> None:
        """The same holds for a worker, whose lines have its number; they differ in nothing else."""
        line = written(reported, log_format, "info", 0.25, worker)
        self.assertEqual(line, logged(reported, log_format, "info", 0.25, worker))
        number = f'"worker":{worker},' if log_format == "json" else f"worker={worker} "
        self.assertIn(number, line)
        head, _, rest = line.rpartition(number)
        alone = written(reported, log_format, "info", 0.25)
        if log_format == "text":
            self.assertEqual(head + rest, alone)
        else:
            self.assertEqual(json.loads(line), {**json.loads(alone), "worker": worker})

    def test_level(self) -> None:
        """Records have the level info, those of failures warn, and each is written from there."""
        for level, counts in (
            ("debug", (1, 1)),
            ("info", (1, 1)),
            ("warn", (0, 1)),
            ("error", (0, 0)),
            ("critical", (0, 0)),
        ):
            for way in (logged, written):
                lines = [way(each, "text", level, 0.25) for each in (record(), refused())]
                self.assertEqual(tuple(len(line.splitlines()) for line in lines), counts, level)
        self.assertIn("Z warn autopilot.requests: ", written(refused(), "text", "warn", 0.25))
        self.assertEqual(json.loads(written(refused(), "json", "warn", 0.25))["level"], "warn")

    def test_every_failure(self) -> None:
        """LOG_LEVEL=warn keeps the records of all outcomes that are no success."""
        for way, log_format in product((logged, written), ("text", "json")):
            kept = {each for each in Outcome if way(record(outcome=each), log_format, "warn", 0.25)}
            self.assertEqual(kept, set(Outcome) - {Outcome.COMPLETED})

    def test_text(self) -> None:
        """A text line has time, level, logger and the known facts."""
        self.assertEqual(
            written(record(), "text", "info", 0.25),
            "1970-01-01T00:00:00.250Z info autopilot.requests: r1 alias model=m why=best status=200"
            " attempts=1/3 ttfb=123.5ms duration=2000.0ms bytes=42 endpoint=/v1/chat/completions"
            " stream=true completed\n",
        )
        reported = record(usage=Usage(1200, 1024, 87, None), cost_picodollars=1_050_000_000)
        self.assertIn(
            " bytes=42 tokens=prompt:1200,cached:1024,completion:87 cost=0.00105 endpoint=",
            written(reported, "text", "info", 0.25),
        )
        free = record(usage=Usage(completion=0), cost_picodollars=0)
        self.assertIn(
            " bytes=42 tokens=completion:0 cost=0 end", written(free, "text", "info", 0.25)
        )

    def test_private(self) -> None:
        """A private request says so, and which instance had it last; no other one does."""
        line = written(record(private=True, instance="8f14e45f"), "text", "info", 0.0)
        self.assertIn(" private=true instance=8f14e45f ", line)
        self.assertNotIn("instance=", written(record(private=True), "text", "info", 0.0))
        self.assertNotIn("private=", written(record(), "text", "info", 0.0))

    def test_elsewhere(self) -> None:
        """A line says which other service had the model, and how a second attempt ended."""
        line = written(record(backend="office", hedged="won"), "text", "info", 0.0)
        self.assertIn(" stream=true backend=office hedged=won completed", line)

    def test_forged(self) -> None:
        """A request id or a model's name that holds a blank, a quote or a = is quoted."""
        for value in ("a status=200", "a=b", 'say "so"', "a\nb", "a\u2028b", "a\tb"):
            line = written(record(req_id=value, model=value), "text", "info", 0.25)
            quoted = json.dumps(value)
            self.assertIn(
                f"autopilot.requests: {quoted} alias model={quoted} why=best status=200", line
            )
            self.assertEqual(len(line.splitlines()), 1)
            failed = Failover(value, FailureReason.CAPACITY, 429, 1.5)
            line = written(record(failovers=(failed,)), "text", "info", 0.25)
            self.assertIn(f" failovers={json.dumps(f'capacity:429:1.5ms:{value}')} ttfb", line)
        line = written(record(req_id="a,b", model="org/x-1.5:THINKING"), "text", "info", 0.25)
        self.assertIn(" a,b alias model=org/x-1.5:THINKING why", line)

    def test_json(self) -> None:
        """In JSON, numbers are numbers and unknown facts are null."""
        line = json.loads(written(refused(), "json", "info", 0.25))
        self.assertEqual((line["bytes"], line["duration_ms"]), (0, 2000.0))
        self.assertEqual((line["model"], line["ttfb_ms"]), (None, None))
        failed = Failover("m0", FailureReason.CONNECT_ERROR, None, 1.5)
        line = json.loads(written(record(failovers=(failed,)), "json", "info", 0.25))
        self.assertEqual(
            line["failovers"],
            [{"model": "m0", "reason": "connect_error", "status": None, "ms": 1.5}],
        )
        self.assertEqual((line["why"], line["stream"]), ("best", True))
        self.assertEqual((line["usage"], line["cost_picodollars"]), (None, None))
        usage = Usage(12, 8, 5, 0)
        spent = Failover("m0", FailureReason.GAVE_UP, 200, 1.5, usage, 7)
        reported = record(usage=usage, cost_picodollars=10**15, failovers=(spent,))
        line = json.loads(written(reported, "json", "info", 0.25))
        expected = {"prompt": 12, "cached": 8, "completion": 5, "reasoning": 0}
        self.assertEqual((line["usage"], line["cost_picodollars"]), (expected, 10**15))
        (failed,) = line["failovers"]
        self.assertEqual((failed["usage"], failed["cost_picodollars"]), (expected, 7))


class SinkTests(SynchronousTestCase):
    """The output of lines, and its failures."""

    def setUp(self) -> None:
        """Write into an unreliable sink, with a fixed clock and a captured log."""
        self.sink = FickleSink()
        self.now = 1e9
        self.complaints: list[tuple[int, str]] = []

        @provider(ILogObserver)
        def observe(event: LogEvent) -> None:
            self.complaints.append((event["lost"], event["cause"]))

        self.patch(access_log, "_log", Logger(namespace="here", observer=observe))
        self.write = records_to_lines(self.sink, "text", "info", lambda: self.now)

    def test_seen_at_once(self) -> None:
        """Each line is written with one call and flushed."""
        for count in (1, 2):
            self.write(record())
            self.assertEqual((len(self.sink.written), self.sink.flushed), (count, count))
        self.assertTrue(all(line.endswith("completed\n") for line in self.sink.written))

    def test_file(self) -> None:
        """A line is in the log file before the file is closed."""
        path = Path(self.mktemp())
        log_file = LogFile.fromFullPath(str(path))
        self.addCleanup(log_file.close)
        for way, count in (("text", 1), ("json", 2)):
            records_to_lines(log_file, way, "info")(record())
            self.assertEqual(len(path.read_bytes().splitlines()), count)

    def test_closed_file(self) -> None:
        """A closed log file loses lines, but fails no request."""
        log_file = LogFile.fromFullPath(self.mktemp())
        write = records_to_lines(log_file, "text", "info")
        log_file.close()
        write(record())

    def test_failures(self) -> None:
        """A failing sink raises nothing, and the log later reports the lost lines."""
        self.sink.wrong = OSError(28, "No space left on device")
        for _ in range(3):
            self.write(record())
        self.assertEqual((self.sink.written, self.complaints), ([], []))
        self.sink.wrong = None
        self.write(record())
        self.write(record())
        self.assertEqual(len(self.sink.written), 2)
        self.assertEqual(self.complaints, [(3, "No space left on device")])

    def test_flapping(self) -> None:
        """The loss of lines is reported at most once a minute."""
        for _ in range(5):
            self.sink.wrong_flush = ValueError("closed")
            self.write(record())
            self.sink.wrong_flush = None
            self.write(record())
        self.assertEqual(self.complaints, [(1, "ValueError")])
        self.now += 60
        self.write(record())
        self.assertEqual(self.complaints[1:], [(4, "ValueError")])
