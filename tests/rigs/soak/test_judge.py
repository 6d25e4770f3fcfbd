"""Cases that the judge accepts, and cases that it rejects because of upstream or log."""

from __future__ import annotations

from dataclasses import replace
from random import Random
from typing import Any

from tests.rigs.soak.acts import Ending
from tests.rigs.soak.cases import (
    EVENT,
    ONE,
    OWN,
    TIMES,
    TWO,
    JudgeTestCase,
    attempt,
    broken,
    case,
    failing,
    generation,
    own_error,
    plain,
    request,
    silent,
    streamed,
)
from tests.rigs.soak.comparison import is_finished
from tests.rigs.soak.error_responses import REFUSALS
from tests.rigs.soak.judge import judge
from tests.rigs.soak.observations import Case, Observed, Record
from tests.rigs.soak.requests import ExpectedError


class RightTests(JudgeTestCase):
    """Cases of a correct router."""

    def test_whole(self) -> None:
        """A complete response, streamed and unary."""
        for act in (streamed(generation()), plain(generation())):
            self.assert_right(case(request(), attempt(act)), "whole")

    def test_cut(self) -> None:
        """A stream truncated after an event has an error event, any other response none.

        Each byte of the wire is tried; after the finish reason nothing is missing.
        """
        for act, outcome in (
            (streamed(generation()), "cut, with event"),
            (plain(generation()), "cut"),
        ):
            first = len(act.steps[0].wire)  # type: ignore[union-attr]
            for behind in range(1, act.wire_size - first):
                found = case(request(), attempt(broken(act, behind)))
                sent_body = found.attempts[0].sent_body
                self.assert_right(found, "whole" if is_finished(sent_body) else outcome)

    def test_error(self) -> None:
        """An error has an `error` for SDKs, or is as it was sent; anything else is wrong."""
        refusals = [each.make(generation(), True, Random(1)) for each in REFUSALS]
        for act in refusals:
            if not act.whole or act.turns or act.status == 404:
                continue
            found = case(request(), attempt(act))
            self.assert_right(found, "whole")
            assert found.seen is not None
            sent = found.attempts[0].sent_body
            changed = replace(found.records[0], size=len(sent))
            self.assert_right(
                Case(found.request, found.attempts, replace(found.seen, body=sent), [changed]),
                "whole",
            )
            if found.seen.body != sent:
                body = found.seen.body.replace(b"_error", b"_errer")
                wrong = replace(found.seen, body=body)
                self.assert_wrong(replace(found, seen=wrong), "different from byte")

    def test_reset(self) -> None:
        """The end of a response may be lost before a reset."""
        act = broken(streamed(generation()), 30, Ending.RESET)
        sent_body = attempt(act).sent_body
        for size in range(len(sent_body)):
            body = sent_body[:size]
            body += EVENT if not body or body.endswith(b"\n\n") else b""
            self.assert_right(case(request(), attempt(act), body=body), "cut, with event")

    def test_failover(self) -> None:
        """A failure, a timeout, or a reused connection that closed; then a response."""
        good = attempt(streamed(generation(TWO)), TWO, began=3.0)
        seen: dict[str, Any] = {"first_byte": 3.1, "ended": 3.2}
        for first, reasons in (
            (attempt(failing()), ("status_503",)),
            (attempt(silent(), ended=2.0, by_router=True), ("header_timeout",)),
        ):
            self.assert_right(case(request(), first, good, failovers=reasons, **seen), "whole")
        closed = attempt(replace(silent(), ending=Ending.CLOSE), reused=True)
        again = attempt(streamed(generation()), began=3.0)
        self.assert_right(case(request(), closed, again, **seen), "whole")
        self.assert_wrong(case(request(), closed, good, **seen), "not what the upstream did")
        refusing = replace(TIMES, refusing=lambda start, end: True)
        found = case(request(), closed, good, failovers=("connect_refused",), **seen)
        self.assertEqual(judge(found, refusing).complaints, ())

    def test_own_error(self) -> None:
        """An error of the router after the last candidate has failed."""
        tried = [attempt(failing("connection_lost")), attempt(failing("connection_lost"), TWO)]
        reasons = ("connection_lost",) * 2
        found = own_error(request(), "upstream_connect_error", 502, *tried, failovers=reasons)
        self.assert_right(found, "own upstream_connect_error")

    def test_refused(self) -> None:
        """Requests that the router must refuse."""
        asked = request(refused=ExpectedError(400, "invalid_json"))
        found = own_error(asked, "invalid_json", 400, failovers=())
        self.assert_right(found, "refused 400")

    def test_left(self) -> None:
        """A client that disconnected has received a prefix of the response, or nothing."""
        sent_body = attempt(streamed(generation())).sent_body
        for size in (0, 1, 300):
            found = case(
                request(),
                attempt(streamed(generation())),
                body=sent_body[:size],
                whole=False,
                left=True,
            )
            self.assert_right(found, "left")
        self.assert_right(Case(request(), [], Observed(1.0, 1.1, left=True, sent=False)), "left")
        for behind in (40, 26):  # within an event, and after one
            cut = attempt(broken(streamed(generation()), behind))
            observed = case(request(), cut).seen
            assert observed is not None
            for size in range(len(cut.sent_body), len(observed.body)):
                self.assert_right(
                    case(request(), cut, body=observed.body[:size], left=True), "left"
                )


class WrongAttemptTests(JudgeTestCase):
    """Attempts that are wrong, and records that disagree."""

    def test_duplicate(self) -> None:
        """The same model receives a request twice, although no reused connection had closed."""
        cut = broken(streamed(generation()), 40)
        again = attempt(streamed(generation()), began=1.2)
        found = case(request(), attempt(cut), again, failovers=("connection_lost",))
        self.assert_wrong(found, "a duplicate generation")

    def test_after_first_byte(self) -> None:
        """A second model receives the request after the client's first byte."""
        second = attempt(streamed(generation(TWO)), TWO, began=1.6)
        found = case(request(), attempt(failing()), second, failovers=("status_503",))
        self.assert_wrong(found, "after the first byte")

    def test_two_at_a_time(self) -> None:
        """A second model receives the request long before the first attempt ends."""
        first = attempt(silent(), ended=9.0, by_router=True)
        second = attempt(streamed(generation(TWO)), TWO, began=2.0)
        found = case(request(), first, second, failovers=("header_timeout",), first_byte=2.1)
        self.assert_wrong(found, "two attempts at a time")

    def test_never_let_go(self) -> None:
        """An attempt stays open after its client has left."""
        good = attempt(streamed(generation()))
        self.assert_wrong(case(request(), replace(good, ended=None)), "never closed")
        gone = case(request(), replace(good, ended=20.0), left=True, whole=False)
        self.assert_wrong(gone, "outlived its client")

    def test_other_request(self) -> None:
        """The request was changed, or reached a model that it does not name."""
        good = attempt(streamed(generation()))
        self.assert_wrong(
            case(request(), replace(good, intact=False)), "other bytes than were sent"
        )
        self.assert_wrong(case(request(candidates=(TWO,)), good), "was not requested")

    def test_unexplained(self) -> None:
        """A failover without a failure, or for a reason that did not occur."""
        second = attempt(streamed(generation(TWO)), TWO, began=1.2)
        for first, reason in (
            (attempt(streamed(generation())), "connection_lost"),
            (attempt(failing()), "capacity"),
            (attempt(silent()), "header_timeout"),
        ):
            found = case(request(), first, second, failovers=(reason,))
            self.assert_wrong(found, "not what the upstream did")
        found = case(request(), second, failovers=("connect_refused",))
        self.assert_wrong(found, "not what the upstream did")
        refusing = replace(TIMES, refusing=lambda start, end: True)
        self.assertEqual(judge(found, refusing).complaints, ())

    def test_records(self) -> None:
        """No record, two records, and a record that disagrees."""
        good = attempt(streamed(generation()))
        right = case(request(), good)
        record = right.records[0]
        for records, complaint in (
            ([], "0 records"),
            ([record, record], "2 records"),
            ([replace(record, size=record.size - 1)], "bytes"),
            ([replace(record, outcome="upstream_idle")], "upstream_idle"),
            ([replace(record, status=503)], "status 503"),
        ):
            self.assert_wrong(Case(request(), [good], right.seen, records), complaint)
        unsent = Case(request(), [], Observed(1.0, 1.1, left=True, sent=False))
        unsent.records.append(Record(OWN, "client_gone", None, 0, 2, (), 0))
        self.assert_wrong(unsent, "1 records")
        self.assertEqual(right.request.candidates, (ONE, TWO))
