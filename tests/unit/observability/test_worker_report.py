"""Tests of the reports of workers and of the whole that they make."""

from __future__ import annotations

from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from autopilot.observability.history import (
    INTERVAL,
    INTERVALS,
    FinishedRequest,
    History,
    HistoryWindow,
)
from autopilot.observability.metrics import Metrics
from autopilot.observability.records import Outcome, RequestRecord
from autopilot.observability.worker_report import (
    Whole,
    WorkerReport,
    decode_report,
    encode_report,
)
from tests.unit.observability.records import anything, record, refused
from tests.unit.relay.profiled import calls


def reported(worker: int = 1, **members: Any) -> WorkerReport:
    """Return a report of a worker that has counted nothing, with these members."""
    return WorkerReport(worker, 100 + worker, "1.2.3", Metrics("1.2.3").counted(), **members)


def usual(worker: int, models: int = 60) -> WorkerReport:
    """Return the report of a worker that has served each model of a catalog for half an hour."""
    clock = Clock()
    history, metrics = History(clock.seconds), Metrics("1.2.3")
    names = [f"acme/model-{place}" for place in range(models)]
    for place in range(INTERVALS):
        for each in (record(model=names[place % models]), refused()):
            history.add(each)
            metrics.request(each, names)
        clock.advance(INTERVAL)
    for name in names:
        for status in (200, 429, 503):
            metrics.request(record(model=name, status=status), names)
    return WorkerReport(
        worker,
        1,
        "1.2.3",
        metrics.counted(),
        first_content=dict.fromkeys(names, 1.0),
        recent=history.latest(),
        failed=history.latest_failures(),
        history=history.counted(),
    )


class EncodingTests(SynchronousTestCase):
    """The bytes of a report."""

    @given(st.lists(anything, max_size=3))
    def test_records(self, records: list[RequestRecord]) -> None:
        """Records are read as they were, but for halves of surrogate pairs."""
        report = reported(recent=tuple(FinishedRequest(1.5, each) for each in records))
        decoded = decode_report(encode_report(report))
        try:
            msgspec.msgpack.encode(records)
        except UnicodeEncodeError:
            self.assertEqual(
                [each.record.outcome for each in decoded.recent], [each.outcome for each in records]
            )
        else:
            self.assertEqual(decoded, report)

    def test_counted(self) -> None:
        """What was counted is read as it was."""
        report = usual(2)
        self.assertEqual(decode_report(encode_report(report)), report)

    def test_unreadable(self) -> None:
        """What is no report is an error that a caller expects."""
        whole = encode_report(reported())
        for wrong in (b"", b"\xc1", whole[:-1], msgspec.msgpack.encode({"worker": "one"})):
            with self.assertRaises(ValueError):
                decode_report(wrong)


class WholeTests(SynchronousTestCase):
    """The whole of several reports."""

    def test_sums(self) -> None:
        """Requests are summed, averages averaged, and a model cools for the longest time."""
        whole = Whole()
        whole.add(reported(1, active=2, cooling={"a": 3.0}, first_content={"a": 1.0, "b": 5.0}))
        whole.add(reported(2, active=3, cooling={"a": 1.0, "c": 0.0}, first_content={"a": 2.0}))
        whole.add(reported(3, throughput={"a": 7.0}))
        self.assertEqual(whole.active, 5)
        self.assertEqual(whole.cooling, {"a": 3.0, "c": 0.0})
        self.assertEqual(whole.first_content, {"a": 1.5, "b": 5.0})
        self.assertEqual(whole.throughput, {"a": 7.0})

    def test_last_requests(self) -> None:
        """The last requests are those that ended last on any worker, and carry its number."""
        whole = Whole()
        for worker in (1, 2):
            finished = [
                FinishedRequest(float(2 * at + worker), record()) for at in range(49, -1, -1)
            ]
            whole.add(reported(worker, recent=tuple(finished), failed=tuple(finished[:2])))
        self.assertEqual(
            [(each.ended_at, each.worker) for each in whole.recent[:3]],
            [(100.0, 2), (99.0, 1), (98.0, 2)],
        )
        self.assertEqual(len(whole.recent), 50)
        self.assertEqual([each.worker for each in whole.failed], [2, 1, 2, 1])

    def test_history(self) -> None:
        """The half hour is that of one process that served all requests."""
        clock = Clock()
        clock.advance(5000.0)
        one, own = History(clock.seconds), History(clock.seconds)
        several = [History(clock.seconds) for _ in range(3)]
        for place in range(2 * INTERVALS):
            each = record(
                ttfb_ms=10.0 * place,
                outcome=Outcome.FAILED if place % 7 == 0 else Outcome.COMPLETED,
                failovers=("cut",) * (place % 3),
            )
            one.add(each)
            several[place % 3].add(each)
            clock.advance(INTERVAL / 2 + 7.0)
        whole = Whole()
        for worker, history in enumerate(several):
            report = reported(worker, history=history.counted())
            whole.add(decode_report(encode_report(report)))
        self.assertEqual(own.window(whole.history), one.window())
        self.assertEqual(own.window({}), HistoryWindow())

    def test_ended_workers(self) -> None:
        """What workers that have ended did is kept as long as what the others did."""
        clock = Clock()
        history, kept = History(clock.seconds), Whole()
        for at in range(3 * INTERVALS):
            history.add(record())
            if at % 10 == 9:
                report = reported(1, active=4, history=history.counted()[-10:], cooling={"a": 1.0})
                recent = (FinishedRequest(float(at), record()),) * 9
                kept.keep(msgspec.structs.replace(report, recent=recent))
            clock.advance(INTERVAL)
        self.assertEqual(len(kept.history), INTERVALS)
        self.assertEqual((kept.active, kept.cooling), (0, {}))
        self.assertEqual(len(kept.recent), 50)
        copy = kept.copy()
        copy.add(reported(2, active=1, history=history.counted()))
        self.assertEqual((copy.active, kept.active), (1, 0))
        last = max(kept.history)
        self.assertEqual((copy.history[last].requests, kept.history[last].requests), (2, 1))

    def test_cost(self) -> None:
        """Each report is merged alone, and costs as much as the one before."""
        first, second = (decode_report(encode_report(usual(each))) for each in (1, 2))
        whole = Whole()
        for report in (first, second, first):
            self.assertLess(calls(whole.add, report), 2500)
        self.assertLess(calls(lambda _: (whole.recent, whole.failed), None), 700)
