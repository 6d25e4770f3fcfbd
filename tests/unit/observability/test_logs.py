"""Tests of the log formats: one safe line per event."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from io import StringIO
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.logger import (
    ILogObserver,
    LegacyLogObserverWrapper,
    LogEvent,
    Logger,
    LogLevel,
    LogPublisher,
)
from twisted.python import log as legacy
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import provider
from zope.interface.verify import verifyObject

from autopilot.observability.logs import line_observer, utc

values = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(),
        st.floats(),
        st.text(st.characters()),
        st.binary(max_size=5),
        st.builds(object),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(st.one_of(st.text(max_size=3), st.integers()), inner, max_size=3),
    ),
    max_leaves=8,
)


class LogTests(SynchronousTestCase):
    """The observer of a ``Logger``."""

    def lines(self, log_format: str, level: str = "debug", **event: Any) -> list[str]:
        """Return the line of a warning with these fields."""
        sink = StringIO()
        observer = line_observer(sink, log_format, level)

        @provider(ILogObserver)
        def at_a_fixed_time(event: LogEvent) -> None:
            observer({**event, "log_time": 0.25})

        logger = Logger("here", observer=at_a_fixed_time)
        logger.emit(LogLevel.warn, event.pop("format", "hello {name}"), **event)
        return sink.getvalue().splitlines()

    def test_interface(self) -> None:
        """The observer provides Twisted's interface."""
        verifyObject(ILogObserver, line_observer(StringIO(), "json", "info"))

    def test_text(self) -> None:
        """A text line has time, level, logger and the formatted message."""
        (line,) = self.lines("text", name="world")
        self.assertEqual(line, "1970-01-01T00:00:00.250Z warn here: hello world")

    def test_json(self) -> None:
        """A JSON line has the same facts, and the event's fields as data."""
        (line,) = self.lines("json", name="world", count=3, share=0.5, of=("a", None))
        self.assertEqual(
            json.loads(line),
            {
                "time": "1970-01-01T00:00:00.250Z",
                "level": "warn",
                "logger": "here",
                "message": "hello world",
                "name": "world",
                "count": 3,
                "share": 0.5,
                "of": ["a", None],
            },
        )

    def test_failing_sink(self) -> None:
        """A sink that fails costs lines, which are counted, and nothing else."""

        class Full(StringIO):
            def write(self, text: str, /) -> int:
                raise OSError(28, "No space left on device")

        observer = line_observer(Full(), "text", "info")
        for level in (LogLevel.info, LogLevel.debug, LogLevel.error):
            observer({"log_level": level, "log_format": "x", "log_time": 0.0})
        self.assertEqual(observer.lost, 2)

    def test_level(self) -> None:
        """Events below the level are not written."""
        self.assertEqual(len(self.lines("text", "warn", name="x")), 1)
        self.assertEqual(self.lines("text", "error", name="x"), [])

    @given(st.floats(-1e9, 1e10) | st.integers(0, 2000).map(lambda tick: 2.0**30 + tick / 2e6))
    def test_time(self, moment: float) -> None:
        """A time equals the calendar's, rounded down to milliseconds."""
        expected = datetime.fromtimestamp(moment, UTC).isoformat(timespec="milliseconds")
        self.assertEqual(utc(moment), expected.replace("+00:00", "Z"))

    def test_text_cannot_be_forged(self) -> None:
        """A value cannot start a line or send escape sequences to a terminal."""
        first, second = self.lines("text", name="x\r\n1970 info y: z\x1b[2J\x85\u2028")
        self.assertTrue(first.endswith(r"hello x\x0d"))
        self.assertEqual(second, r"    1970 info y: z\x1b[2J\x85\u2028")

    @given(values)
    def test_json_of_anything(self, value: object) -> None:
        """Any value of a field gives one line of strict JSON."""
        (line,) = self.lines("json", format="fixed", value=value)
        found = json.loads(line, parse_constant=lambda name: self.fail(name))
        self.assertIn("value", found)

    def test_objects_show_their_type_only(self) -> None:
        """The repr of an object, which may contain a secret, is not written."""

        class Request:
            def __repr__(self) -> str:
                return "hunter2"

        (line,) = self.lines("json", format="fixed", one=Request(), many=[Request()], key={1: b"x"})
        found = json.loads(line)
        self.assertEqual(found["one"], "<Request>")
        self.assertEqual(found["many"], ["<Request>"])
        self.assertEqual(found["key"], {"1": "<bytes>"})

    def test_circular(self) -> None:
        """A list that contains itself is truncated."""
        loop: list[object] = []
        loop.append(loop)
        (line,) = self.lines("json", format="fixed", loop=loop)
        self.assertIn("<list>", line)

    def failure(self) -> Failure:
        """Return a failure whose frame has a secret in a variable."""
        secret = "hunter" + "2"
        try:
            raise ValueError(len(secret))
        except ValueError:
            return Failure(captureVars=True)

    def test_traceback_without_values(self) -> None:
        """A traceback has source lines, but no values of variables."""
        (line,) = self.lines("json", format="broke", log_failure=self.failure())
        found = json.loads(line)
        self.assertEqual((found["message"], found["error"]), ("broke", "ValueError"))
        self.assertIn("in failure", found["traceback"])
        self.assertNotIn("hunter2", line)
        text = self.lines("text", format="broke", log_failure=self.failure())
        self.assertTrue(text[0].endswith("here: broke"))
        self.assertTrue(all(each.startswith("    ") for each in text[1:]))
        self.assertNotIn("hunter2", "".join(text))

    def test_older_log_api(self) -> None:
        """Events of twisted.python.log are written too, with an error's traceback once."""
        sink = StringIO()
        publisher = LogPublisher(line_observer(sink, "json", "debug"))
        old = legacy.LogPublisher(observerPublisher=publisher, publishPublisher=publisher)
        old.msg("plain", system="-")
        old.msg(failure=self.failure(), why="because", isError=1)
        first, second = (json.loads(line) for line in sink.getvalue().splitlines())
        self.assertEqual((first["message"], first["level"]), ("plain", "debug"))
        self.assertEqual((second["message"], second["level"]), ("because", "critical"))
        self.assertNotIn("isError", first)
        self.assertIn("ValueError", second["traceback"])

    def test_twisted_itself(self) -> None:
        """What Twisted tells of itself is debug; its warnings, and what others say, stay."""
        for namespace, name, level, expected in (
            ("twisted.scripts._twistd_unix.UnixAppLogger", "info", "debug", "debug"),
            ("twisted.scripts._twistd_unix.UnixAppLogger", "info", "info", None),
            ("log_legacy", "info", "info", None),
            ("twisted.logger._global", "warn", "info", "warn"),
            ("log_legacy", "critical", "info", "critical"),
            ("autopilot.service", "info", "info", "info"),
            ("twistedness", "info", "info", "info"),
        ):
            sink = StringIO()
            publisher = LogPublisher(line_observer(sink, "text", level))
            Logger(namespace, observer=publisher).emit(LogLevel.levelWithName(name), "hello")
            (found, *_) = [*(line.split()[1] for line in sink.getvalue().splitlines()), None]
            self.assertEqual(found, expected, namespace)

    def test_seen_by_the_older_api(self) -> None:
        """Names added by an observer of the legacy API hide no field of the event."""
        sink = StringIO()
        older = LegacyLogObserverWrapper(lambda event: None)  # type: ignore[arg-type]
        publisher = LogPublisher(older, line_observer(sink, "json", "info"))
        Logger(namespace="x", observer=publisher).info("hello {a}", a=1, why="best")
        line = json.loads(sink.getvalue())
        self.assertEqual((line["a"], line["why"]), (1, "best"))
        self.assertEqual(set(line), {"time", "level", "logger", "message", "a", "why"})


class RepeatedTests(SynchronousTestCase):
    """Repeated tracebacks."""

    def setUp(self) -> None:
        """A sink, and an observer of each format."""
        self.sink = StringIO()

    def failing(self, log_format: str, *moments: float) -> list[str]:
        """Log the same failure at these times, and return its lines without tracebacks."""
        observer = line_observer(self.sink, log_format, "info")
        for moment in moments:
            try:
                _ = 1 // 0
            except ZeroDivisionError:
                event = {"log_format": "a bug", "log_failure": Failure(), "log_time": moment}
                observer(event | {"log_level": LogLevel.critical, "log_namespace": "here"})
        return [line for line in self.sink.getvalue().splitlines() if "a bug" in line]

    def test_text(self) -> None:
        """The first failure is written, then one line with the number of the others."""
        lines = self.failing("text", *range(200))
        self.assertEqual(len(lines), 3)
        self.assertTrue(lines[0].endswith("here: a bug"))
        self.assertTrue(lines[1].endswith("here: a bug (60 times since the last such message)"))
        self.assertEqual(self.sink.getvalue().count("Traceback"), 3)

    def test_json(self) -> None:
        """In JSON the number is a field."""
        times = [json.loads(line)["times"] for line in self.failing("json", *range(200))]
        self.assertEqual(times, [1, 60, 120])
