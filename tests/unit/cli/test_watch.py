"""Tests of ``autopilot watch``."""

from __future__ import annotations

import contextlib
import io
import json
import os
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.testing import MemoryReactorClock
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.resource import Resource

from autopilot.cli import entry, watch
from autopilot.cli.console import CommandError
from autopilot.observability.access_log import json_of, text_of
from autopilot.observability.records import Failover, Outcome, RequestRecord, facts
from autopilot.routing.failure_reason import FailureReason
from autopilot.settings import Settings
from autopilot.wiring.parts import Parts
from tests.unit.cli.asked import CommandTestCase
from tests.unit.cli.commands import start_reading
from tests.unit.observability.records import record, refused

FAILED = Failover("org/x", FailureReason.CAPACITY, 429, 812.4)


def member(number: int, **changes: Any) -> dict[str, Any]:
    """Return a member of ``recent``."""
    ended_at = f"2026-11-29T16:00:{number % 60:02}.{number:03}Z"
    return {"ended_at": ended_at, **facts(record(req_id=f"r{number}", **changes))}


class WatchTestCase(CommandTestCase):
    """The command, whose output grows while the test goes on."""

    def setUp(self) -> None:
        """Start without standard input."""
        super().setUp()
        self.reactor = MemoryReactorClock()
        self.output, self.errors = io.StringIO(), io.StringIO()
        self.input: int | None = None
        self.patch(watch, "standard_input", lambda: self.input)

    def watch(self, *arguments: str) -> Deferred[int]:
        """Start the command."""
        given = entry.parser().parse_args(["watch", *arguments])
        with self.listening():
            ended = Deferred.fromCoroutine(given.command.run(self.reactor, given))
            self.agent.flush()
        return ended

    def pass_time(self, seconds: float = 1.0) -> None:
        """Let time pass."""
        with self.listening():
            self.reactor.advance(seconds)
            self.agent.flush()

    @contextlib.contextmanager
    def listening(self) -> Any:
        """Collect what is printed."""
        with (
            contextlib.redirect_stdout(self.output),
            contextlib.redirect_stderr(self.errors),
        ):
            yield

    def said(self) -> list[str]:
        """Return the lines printed since the last call."""
        lines = self.output.getvalue().splitlines()
        self.output.seek(0)
        self.output.truncate()
        return lines

    def ids(self) -> list[str]:
        """Return the request ids printed since the last call."""
        return [line.split()[-1] for line in self.said()]

    def end(self, ended: Deferred[int]) -> None:
        """End the command as an interrupt does."""
        ended.addErrback(lambda _: None)
        ended.cancel()
        self.assertEqual((self.reactor.getDelayedCalls(), self.reactor.getReaders()), ([], []))


class InputTests(WatchTestCase):
    """Records from standard input."""

    def setUp(self) -> None:
        """Pipe something in."""
        super().setUp()
        self.input, self.pipe = os.pipe()
        self.addCleanup(os.close, self.input)

    def write(self, *written: RequestRecord | str) -> None:
        """Write lines to the pipe, and let them be read."""
        lines = [each if isinstance(each, str) else text_of(each, 0.0) for each in written]
        os.write(self.pipe, "".join(lines).encode())
        self.turn()

    def turn(self) -> None:
        """Let the readers read."""
        with self.listening():
            for reader in self.reactor.getReaders():
                reader.doRead()

    def test_piped(self) -> None:
        """What is piped in is read, whole lines at once, until its end."""
        ended = self.watch()
        self.write(record(), json_of(refused(req_id="r2"), 0.0), "not a record\x1b[2J\n", "half")
        self.assertEqual([line.split()[-1] for line in self.said()], ["r1", "r2", "record\\x1b[2J"])
        self.assertNoResult(ended)
        os.close(self.pipe)
        self.turn()
        self.assertEqual(self.successResultOf(ended), 0)
        self.assertEqual(self.said(), ["half"])

    def test_filter(self) -> None:
        """A filter leaves records out; other lines only if that is asked for."""
        ended = self.watch("-", "--failures", "--min-ms", "1000", "--color", "always")
        self.write(record(), refused(req_id="r2"), refused(duration_ms=5.0), "other\n")
        lines = self.said()
        self.assertEqual(len(lines), 2)
        self.assertIn("\x1b[31m400\x1b[0m", lines[0])
        self.assertEqual(lines[1], "\x1b[2mother\x1b[0m")
        self.end(ended)
        ended = self.watch("--only-records", "--outcome", "refused")
        self.write(record(), refused(), "other\n")
        self.assertEqual(len(self.said()), 1)
        self.end(ended)
        os.close(self.pipe)

    def test_json(self) -> None:
        """Each record is an object in a line, and nothing else is printed."""
        ended = self.watch("--json")
        self.write(json_of(record(model="m\u00e4"), 0.0), "other\n")
        (line,) = self.said()
        self.assertTrue(line.isascii())
        found = json.loads(line)
        self.assertEqual(
            (found["model"], found["why"], found["outcome"]), ("m\u00e4", "best", "completed")
        )
        self.end(ended)
        os.close(self.pipe)

    def test_output_gone(self) -> None:
        """The reader of the output may leave: that ends the command as its error."""
        ended = self.watch()
        self.output.close()
        os.write(self.pipe, b"x\n")
        with contextlib.suppress(ValueError):
            self.turn()
        self.failureResultOf(ended, ValueError)
        os.close(self.pipe)

    def test_closed(self) -> None:
        """Standard input may be closed."""
        os.close(self.pipe)
        descriptor, self.input = self.input, None
        self.failureResultOf(self.watch("-"), CommandError)
        self.input = descriptor


class ProcessTests(SynchronousTestCase):
    """The command as a process."""

    def test_broken_pipe(self) -> None:
        """It reads a whole file, and ends quietly when its output is no longer read."""
        log = Path(self.mktemp())
        log.write_text(text_of(record(), 3723.25) * 5000)
        with log.open("rb") as lines, start_reading(lines, "watch") as process:
            assert process.stdout is not None and process.stderr is not None
            self.assertRegex(process.stdout.readline(), r"^01:02:03 200 m  .* stream r1\n$")
            process.stdout.close()
            self.assertEqual((process.wait(60), process.stderr.read()), (141, ""))


class LogFileTests(WatchTestCase):
    """Records from a log file."""

    def test_followed(self) -> None:
        """New lines are printed once a second."""
        path = Path("router.log")
        path.write_text(text_of(record(req_id="old"), 0.0))
        ended = self.watch("--file", "router.log")
        with path.open("a") as file:
            file.write(text_of(record(req_id="new"), 0.0))
        self.assertEqual(self.ids(), [])
        self.pass_time()
        self.assertEqual(self.ids(), ["new"])
        self.end(ended)

    def test_missing(self) -> None:
        """A file that is not there is an error."""
        error = self.failureResultOf(self.watch("--file", "nowhere"), CommandError).value
        self.assertEqual(str(error), "--file: No such file or directory")


class _Status(Resource):
    """A router's /status.json."""

    isLeaf = True

    def __init__(self) -> None:
        super().__init__()
        self.body: bytes = b""
        self.code = 200

    def render_GET(self, request: Any) -> bytes:
        """See `Resource`."""
        request.setResponseCode(self.code)
        return self.body if request.path == b"/status.json" else b""


class RouterTests(WatchTestCase):
    """Records from a running router."""

    def setUp(self) -> None:
        """Start a router that has had two requests."""
        super().setUp()
        self.status = _Status()
        self.join(self.status)
        self.tell(2, 1)

    def tell(self, *numbers: int, **changes: Any) -> None:
        """Set the last requests, newest first."""
        self.status.code = 200
        self.status.body = json.dumps(
            {"version": "1", "recent": [member(each, **changes) for each in numbers]}
        ).encode()

    def test_new_ones(self) -> None:
        """The last requests come first, then each new one once."""
        ended = self.watch()
        self.assertEqual(self.ids(), ["r1", "r2"])
        self.pass_time()
        self.assertEqual(self.ids(), [])
        self.tell(4, 3, 2, 1)
        self.pass_time()
        self.assertEqual(self.ids(), ["r3", "r4"])
        self.assertEqual(self.errors.getvalue(), "")
        self.end(ended)

    def test_real_router(self) -> None:
        """The status of a real router has whole records."""
        parts = Parts(Settings(), self.reactor)
        self.join(parts.tree())
        parts.record(record(failovers=(FAILED,), attempts=2))
        parts.record(refused(req_id="r2"))
        ended = self.watch()
        self.pass_time(0)
        first, second = self.said()
        self.assertTrue(first.endswith(" stream after org/x capacity 429 812 ms r1"), first)
        self.assertTrue(second.endswith(" refused unknown_model r2"), second)
        ended.addErrback(lambda _: None)
        ended.cancel()

    def test_too_many(self) -> None:
        """If the router tells none of the requests of the last time, some may be missing."""
        ended = self.watch("--router", "http://router.test/", "--outcome", str(Outcome.COMPLETED))
        self.ids()
        self.tell(9, 8)
        self.pass_time()
        self.assertEqual(self.ids(), ["r8", "r9"])
        self.assertEqual(self.errors.getvalue().count("its log has them all"), 1)
        self.tell(11)  # after a restart
        self.pass_time()
        self.assertEqual(self.ids(), ["r11"])
        self.assertEqual(self.errors.getvalue().count("its log has them all"), 1)
        self.end(ended)

    def test_away(self) -> None:
        """The command waits for a router that stops responding, and says so once."""
        ended = self.watch()
        self.ids()
        self.status.code = 500
        self.pass_time()
        self.pass_time()
        self.assertEqual(self.errors.getvalue().count("still trying"), 1)
        self.tell(3, 2, 1)
        self.pass_time()
        self.assertEqual(self.ids(), ["r3"])
        self.end(ended)

    def test_no_router(self) -> None:
        """What listens there must be a router, of a version that tells its requests."""
        for body, code, told in (
            (b"", 404, "--router takes the address of its /status page"),
            (b"[]", 200, "gave no status of a router"),
            (b'{"recent": 5}', 200, "gave no status of a router"),
            (b'{"recent": [{"model": "m"}]}', 200, "older version"),
        ):
            self.status.body, self.status.code = body, code
            error = self.failureResultOf(self.watch(), CommandError).value
            self.assertIn(told, str(error))
        error = self.failureResultOf(self.watch("--router", "ftp://x"), CommandError).value
        self.assertIn("--router: ", str(error))

    def test_idle(self) -> None:
        """A router without requests is watched as well."""
        self.tell()
        ended = self.watch()
        self.tell(1)
        self.pass_time()
        self.assertEqual((self.ids(), self.errors.getvalue()), (["r1"], ""))
        self.end(ended)
