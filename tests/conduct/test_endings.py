"""The table of unusual answers: each row in each API, streamed and plain."""

from __future__ import annotations

import json

from twisted.trial.unittest import SynchronousTestCase

from stub_backend.scenarios import OF_EACH_API
from tests.conduct.endings import PATHS, ROWS, Expected, Kind
from tests.conduct.play_endings import Played, play_endings

_INTERRUPTED = "upstream_stream_interrupted"
# Virtual seconds that the words of both models take, and a request's size adds to an allowance.
_WORDS = 5.0


class TableTests(SynchronousTestCase):
    """The table itself."""

    def test_complete(self) -> None:
        """Each scenario of this kind has a row."""
        names = [row.scenario for row in ROWS]
        self.assertEqual(len(names), len(set(names)))
        self.assertEqual({each.name for each in OF_EACH_API} - set(names), set())


class EndingTests(SynchronousTestCase):
    """Each row."""

    def check_all(self, *, stream: bool) -> None:
        """Compare every row in every API under both values of COMMIT."""
        for index, commit in enumerate(("content", "complete")):
            played = play_endings(commit, stream=stream)
            for row in ROWS:
                for api in PATHS:
                    expected = row.expected(api, stream=stream)[index]
                    what = f"{row.scenario}, {api}, {commit}: {played[row, api]}, not {expected}"
                    self.check(expected, api, played[row, api], what)

    def check(self, expected: Expected, api: str, played: Played, what: str) -> None:
        """Compare what a client received, byte for byte, and the record."""
        seen, said = played.seen, played.said
        self.assertEqual(played.reasons, [expected.reason] if expected.reason else [], what)
        self.assertEqual(played.record.outcome, expected.outcome, what)
        match expected.kind:
            case Kind.AS_SAID | Kind.SECOND:
                self.assertEqual((seen.status, seen.body), (said.status, said.body), what)
                self.assertTrue(played.clean, what)
            case Kind.ENDED:
                self.assertEqual(seen.body, _up_to_terminator(said.body), what)
                self.assertTrue(played.clean, what)
            case Kind.CUT:
                self.assertEqual((seen.body, played.clean), (said.body, False), what)
            case Kind.TOLD:
                before = _before(said.body, expected.withheld)
                self.assertTrue(seen.body.startswith(before), what)
                self.check_notice(seen.body.removeprefix(before), api, what)
                if api == "responses":
                    self.check_position(before, seen.body.removeprefix(before), what)
                # Codex shows the words of a response that failed only if its stream ends well.
                self.assertEqual(played.clean, api == "responses", what)
        if expected.seconds is not None:
            late = seen.seconds - expected.seconds
            self.assertTrue(0.0 <= late <= _WORDS, what)

    def check_notice(self, notice: bytes, api: str, what: str) -> None:
        """One event, in the API's own shape."""
        self.assertTrue(notice.endswith(b"\n\n"), what)
        self.assertEqual(notice.count(b"\n\n"), 1, what)
        lines = notice.strip().split(b"\n")
        value = json.loads(lines[-1].removeprefix(b"data: "))
        if api == "responses":
            self.assertEqual(lines[0], b"event: response.failed", what)
            self.assertEqual(value["response"]["error"]["code"], _INTERRUPTED, what)
        elif api == "messages":
            self.assertEqual((lines[0], value["type"]), (b"event: error", "error"), what)
        else:
            self.assertEqual(value["error"]["code"], _INTERRUPTED, what)

    def check_position(self, before: bytes, notice: bytes, what: str) -> None:
        """The event continues the response and the numbers of the events before it."""
        events = [
            json.loads(line[6:]) for line in before.split(b"\n") if line.startswith(b"data: {")
        ]
        last = json.loads(notice.partition(b"data: ")[2])
        numbers = [event["sequence_number"] for event in [*events, last]]
        self.assertEqual(numbers, [*range(len(numbers))], what)
        if events:
            self.assertEqual(last["response"]["id"], events[0]["response"]["id"], what)

    def test_streamed(self) -> None:
        """Streams."""
        self.check_all(stream=True)

    def test_plain(self) -> None:
        """Plain answers."""
        self.check_all(stream=False)


def _up_to_terminator(body: bytes) -> bytes:
    for mark in (b"data: [DONE]", b"event: message_stop", b"event: response.completed"):
        if mark in body:
            end = body.index(b"\n\n", body.index(mark)) + 2
            return body[:end]
    return body


def _before(body: bytes, withheld: bytes) -> bytes:
    """Return the whole events before the one in which ``withheld`` stands."""
    end = body.index(withheld) if withheld else len(body)
    return body[: body.rfind(b"\n\n", 0, end) + 2]
