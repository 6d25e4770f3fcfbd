"""The log of a failure contains its place and type, but not its text."""

from __future__ import annotations

import errno
from io import StringIO
from typing import NamedTuple

from twisted.internet.error import ConnectError
from twisted.logger import Logger, LogPublisher
from twisted.python import log as legacy
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from autopilot.observability.logs import line_observer
from tests.process.secrets.canaries import Scanner, canary

FORMATS = ("text", "json")


class Held(NamedTuple):
    """A plain object with a text of its own."""

    token: str


class TracebackTests(SynchronousTestCase):
    """Failures that hold a secret in every place that can hold one."""

    def setUp(self) -> None:
        """Create the secret."""
        self.secret = canary("secret")
        self.scanner = Scanner((self.secret,))

    def failures(self) -> list[Failure]:
        """Return one failure of each kind, raised with its variables."""
        text = self.secret.text
        noted, chained = ValueError("see the note"), ValueError("again")
        noted.add_note(text)
        chained.__cause__ = KeyError(text)
        chained.__context__ = TypeError(text)
        errors: list[BaseException] = [
            ValueError(text),
            KeyError(text),
            UnicodeDecodeError("utf-8", text.encode(), 0, 1, text),
            ExceptionGroup(text, [ValueError(text), OSError(text)]),
            SyntaxError(text, (text, 1, 1, text)),
            ConnectionError(text),
            OSError(errno.ENOENT, text, text),
            ConnectError(errno.ECONNREFUSED, text),
            type("Own", (Exception,), {"__str__": lambda _self: text})(),
            noted,
            chained,
        ]
        return [self.failure(error, [text]) for error in errors]

    def failure(self, error: BaseException, held: list[str]) -> Failure:
        """Return a failure as caught, with its frame's variables."""
        try:
            raise error
        except BaseException:  # noqa: BLE001  whatever it is
            self.assertTrue(held)
            return Failure(captureVars=True)

    def written(self, log_format: str, failure: Failure) -> str:
        """Return the output of each way to log a failure."""
        sink = StringIO()
        publisher = LogPublisher(line_observer(sink, log_format, "debug"))
        Logger(namespace="x", observer=publisher).failure("it failed", failure)
        old = legacy.LogPublisher(observerPublisher=publisher, publishPublisher=publisher)
        old.msg(failure=failure, why="it failed", isError=1)
        return sink.getvalue()

    def test_no_word_of_it(self) -> None:
        """The type and the place are logged, the text is not."""
        for log_format in FORMATS:
            for failure in self.failures():
                written = self.written(log_format, failure)
                self.assertEqual(self.scanner.found(written.encode()), [])
                self.assertEqual(written.count(f"in {self.failure.__name__}"), 2, written)
                self.assertGreaterEqual(written.count(type(failure.value).__qualname__), 2)

    def test_what_the_system_says(self) -> None:
        """The system's text for an error number is logged, because it is harmless and useful."""
        for log_format in FORMATS:
            missing = OSError(errno.ENOSPC, self.secret.text)
            written = self.written(log_format, self.failure(missing, ["x"]))
            self.assertEqual(written.count("OSError: No space left on device"), 2, written)
            self.assertEqual(self.scanner.found(written.encode()), [])

    def test_fields(self) -> None:
        """The text of an object in a log field is not logged, not even a tuple's or a list's."""
        text = self.secret.text
        fields = (
            Held(text),
            [Held(text)],
            {"a": Held(text)},
            type("Own", (list,), {})([text]),
            ValueError(text),
            text.encode(),
        )
        for log_format in FORMATS:
            for field in fields:
                sink = StringIO()
                observer = LogPublisher(line_observer(sink, log_format, "debug"))
                Logger(namespace="x", observer=observer).error("it came", field=field)
                self.assertEqual(self.scanner.found(sink.getvalue().encode()), [], field)
                self.assertIn("it came", sink.getvalue())
