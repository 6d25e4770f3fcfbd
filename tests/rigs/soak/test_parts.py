"""The building blocks of the soak test: acts, framing, log lines and samples."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from random import Random

from twisted.trial.unittest import SynchronousTestCase

from tests.rigs.soak import faults
from tests.rigs.soak.acts import Act, Part, cut
from tests.rigs.soak.cases import ONE, OWN, TIMES, attempt, case, generation, request, streamed
from tests.rigs.soak.disturbances import Disturbances
from tests.rigs.soak.ledger import Ledger
from tests.rigs.soak.observations import Observed, Record
from tests.rigs.soak.plot import svg
from tests.rigs.soak.requests import ExpectedError, RequestGenerator
from tests.rigs.soak.response_parser import NotHttpError, ResponseParser
from tests.rigs.soak.router import LogReader
from tests.rigs.soak.sampling import MB, Sample, memory_of

_OK = b"HTTP/1.1 200 OK\r\n"


def wire_of(act: Act) -> bytes:
    """Return all bytes of an act."""
    return b"".join(step.wire for step in act.steps if isinstance(step, Part))


class ActTests(SynchronousTestCase):
    """The description of an act agrees with its bytes."""

    def test_bodies(self) -> None:
        """A strict parser reads the declared body from each complete act, however it is split."""
        rng, made = Random(4), 0
        while made < 60:
            act = faults.choose(generation(), rng.random() < 0.5, rng, faults.weights())
            wire = wire_of(act)
            if not act.whole or act.kind in ("interim", "surplus") or b"close" in wire[:200]:
                continue
            made += 1
            for at in {*rng.sample(range(len(wire)), 20), len(wire)}:
                reading = ResponseParser()
                reading.feed(wire[:at])
                self.assertEqual((reading.body, reading.rest), (act.body(at), b""), act.kind)
                self.assertEqual(reading.whole, at == len(wire), act.kind)
                kept = b"".join(p.wire for p in cut(act.steps, at) if isinstance(p, Part))
                self.assertEqual(kept, wire[:at])

    def test_the_same_again(self) -> None:
        """A seed determines the requests and the acts."""
        first, second = RequestGenerator(7, 3), RequestGenerator(7, 3)
        asks = [(first.next(), second.next()) for _ in range(20)]
        self.assertTrue(all(one == other for one, other in asks))
        self.assertEqual(len({one.nonce for one, _ in asks}), 20)
        for one, other in asks:
            self.assertEqual(one.generation(ONE).events(), other.generation(ONE).events())


class ReadingTests(SynchronousTestCase):
    """The client's parser is strict."""

    def test_not_http(self) -> None:
        """Invalid or ambiguous framing is rejected."""
        for wire in (
            b"HTTP/1.0 200 OK\r\n\r\n",
            b"HTTP/1.1 103 Early\r\n\r\n",
            _OK + b"\r\n",
            _OK + b"Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
            _OK + b"Content-Length: 1\r\nContent-Length: 1\r\n\r\n",
            _OK + b"Content-Length: x\r\n\r\n",
            _OK + b"Transfer-Encoding: chunked\r\n\r\nxy\r\n",
            _OK + b"Transfer-Encoding: chunked\r\n\r\n1\r\nabc",
            _OK + b"Transfer-Encoding: chunked\r\n\r\n0\r\nX: y\r\n\r\n",
            _OK + b"X : y\r\nContent-Length: 0\r\n\r\n",
        ):
            with self.subTest(wire=wire), self.assertRaises(NotHttpError):
                ResponseParser().feed(wire)

    def test_rest(self) -> None:
        """The bytes after a response are kept for the next one."""
        reading = ResponseParser()
        for byte in _OK + b"Transfer-Encoding: chunked\r\n\r\n2\r\nab\r\n1\r\nc\r\n0\r\n\r\n":
            self.assertFalse(reading.whole)
            reading.feed(bytes([byte]))
        reading.feed(b"HTTP/1.1")
        self.assertEqual((bytes(reading.body), reading.rest), (b"abc", b"HTTP/1.1"))


class LedgerTests(SynchronousTestCase):
    """Observations that are late, duplicated or unknown."""

    def setUp(self) -> None:
        """Create a ledger with one judged case."""
        self.now = 0.0
        self.ledger = Ledger(TIMES, lambda: self.now)
        done = case(request(), attempt(streamed(generation())))
        assert done.seen is not None
        self.record = done.records[0]
        self.ledger.opened(done.request)
        self.ledger.attempted(OWN, done.attempts[0])
        self.ledger.seen(OWN, done.seen)
        self.ledger.recorded(self.record)
        self.ledger.settle()
        self.assertEqual(self.ledger.open, 1)
        self.now = 10.0
        self.ledger.settle()
        self.assertEqual((self.ledger.open, self.ledger.violated), (0, 0))

    def test_too_late(self) -> None:
        """An attempt or a record after the case was judged is a violation."""
        self.ledger.attempted(OWN, attempt(streamed(generation())))
        self.ledger.recorded(self.record)
        first, second = self.ledger.violations
        self.assertIn("that had ended", first)
        self.assertIn("a surplus record", second)

    def test_without_id(self) -> None:
        """A head that ended before its id may leave a record under an id of the router's own."""
        refused = replace(self.record, nonce="another", outcome="refused", attempts=0, candidates=0)
        self.ledger.recorded(refused)
        self.assertEqual(self.ledger.violated, 0)
        for wrong in ({"nonce": OWN}, {"attempts": 1}, {"candidates": 1}, {"outcome": "failed"}):
            self.ledger.recorded(replace(refused, **wrong))
        self.assertEqual(self.ledger.violated, 4)

    def test_late_record(self) -> None:
        """A refusal at the head waits some seconds for its record, which may be missing."""
        error = ExpectedError(413, "request_too_large", recorded=False)
        for at_once in (True, False):
            given = replace(request(), nonce=f"own-{at_once}", refused=error)
            self.ledger.opened(given)
            seen = Observed(sent=True, began=self.now, ended=self.now, status=413)
            self.ledger.seen(given.nonce, seen)
            if at_once:
                self.ledger.recorded(replace(self.record, nonce=given.nonce))
        self.now += 2.0
        self.ledger.settle()
        self.assertEqual(self.ledger.open, 1)
        self.now += 6.0
        self.ledger.settle()
        self.assertEqual(self.ledger.open, 0)

    def test_log(self) -> None:
        """Lines of the log: records, harmless entries, errors, tracebacks, and garbage."""
        fine = {"level": "info", "logger": "autopilot", "message": "well"}
        path = Path(self.mktemp())
        log = LogReader(path, self.ledger)
        path.write_text(json.dumps(fine) + "\n" + json.dumps(fine)[:9])
        log.read()
        self.assertEqual((log.lines, self.ledger.violated), (1, 0))
        for line in (
            json.dumps({**fine, "level": "error"}),
            json.dumps({**fine, "message": "Traceback (most recent call last)"}),
            json.dumps({**fine, "traceback": "x"}),
            "Unhandled Error",
        ):
            before = self.ledger.violated
            log.line(line.encode())
            self.assertEqual(self.ledger.violated, before + 1, line)

    def test_record(self) -> None:
        """A record as the router writes it."""
        line = {"req_id": OWN, "outcome": "completed", "status": 200, "attempts": 2}
        line |= {
            "candidates": 3,
            "failovers": [{"reason": "a"}, {"reason": "b"}],
            "bytes": 7,
            "model": None,
        }
        found = Record.of(line)
        self.assertEqual(found, Record(OWN, "completed", 200, 2, 3, ("a", "b"), 7))


class SampleTests(SynchronousTestCase):
    """Growth of memory, disturbances and the plot."""

    def samples(self, *megabytes: float) -> list[Sample]:
        """Return samples with these sizes, a second apart."""
        return [
            Sample(float(at), int(size * MB), 20, 5, 10 * at, 9 * at, at)
            for at, size in enumerate(megabytes)
        ]

    def test_memory(self) -> None:
        """Growth in the first half is ignored; growth in the second counts beyond the tolerance."""
        still = self.samples(*range(50, 90), *[90.0] * 40)
        self.assertFalse(memory_of(still, 600).grows)
        growing = self.samples(*[90.0] * 40, *(90 + n / 4 for n in range(40)))
        self.assertTrue(memory_of(growing, 600).grows)
        self.assertFalse(memory_of(growing, 30).grows)

    def test_plot(self) -> None:
        """The plot is an SVG file with a line for each measure."""
        text = svg(self.samples(1, 2, 3, 4), "soak")
        self.assertTrue(text.endswith("</svg>\n"))
        self.assertEqual(text.count("<polyline"), 5)
        self.assertEqual(text.count("<text"), text.count("</text>"))

    def test_disturbances(self) -> None:
        """An interval is disturbed if it overlaps any of the spans."""
        found = Disturbances()
        for start in range(0, 100, 10):
            found.refused(start, start + 2)
        for span, meets in (((3, 9), False), ((3, 10), True), ((1, 1), True), ((92.5, 99), False)):
            self.assertEqual(found.refusing(*span), meets, span)
        self.assertFalse(found.stalled(0, 100))
