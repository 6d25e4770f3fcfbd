"""The judge: checks one request, as observed by the client, the upstream and the log."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from tests.rigs.soak.acts import MODEL_FIELD, NONCE_FIELD, Ending
from tests.rigs.soak.comparison import cut_stream, differs, ends_in_event, is_finished, shaped_error
from tests.rigs.soak.failovers import Times, closed_unheard, explain
from tests.rigs.soak.observations import Attempt, Case, Observed, Record, error_code

GRACE: Final = 3.0
"""Seconds by which an attempt may seem to outlast the router's close, on a busy machine."""

_LAST_REASONS: Final = {
    "upstream_header_timeout": {"header_timeout"},
    "upstream_first_body_byte_timeout": {"first_body_byte_timeout"},
    "upstream_connect_error": {
        *("connect_refused", "connect_error", "connect_timeout"),
        *("connection_lost", "protocol_error"),
    },
    "upstream_stream_interrupted": {
        *("error_event", "gave_up", "no_terminator", "invalid_event", "empty", "cut"),
        "stalled",
    },
}
_STATUSES: Final = {
    "upstream_header_timeout": 504,
    "upstream_first_body_byte_timeout": 504,
    "upstream_connect_error": 502,
    "upstream_stream_interrupted": 502,
    "upstream_total_timeout": 504,
}
_BROKEN: Final = frozenset({"upstream_broken", "upstream_idle", "upstream_error", "upstream_empty"})


@dataclass(frozen=True, slots=True)
class Verdict:
    """The outcome of a request, the fault of its upstream, and the complaints."""

    outcome: str
    fault: str
    complaints: tuple[str, ...]


def judge(case: Case, times: Times) -> Verdict:
    """Judge a completed request."""
    seen = case.seen
    assert seen is not None
    outcome, complaints = _outcome(case, seen, times)
    found = [*_attempts(case, seen, times), *complaints, *_records(case, seen, times)]
    return Verdict(outcome, case.fault, tuple(found))


# -- the upstream


def _attempts(case: Case, seen: Observed, times: Times) -> Iterator[str]:
    """Check that attempts are sequential, unique, in time, and that requests arrive unchanged."""
    if len({each.model for each in case.attempts}) > times.max_attempts:
        yield f"more than {times.max_attempts} attempts"
    before: Attempt | None = None
    tried: dict[str, Attempt] = {}
    for each in case.attempts:
        if not each.intact:
            yield f"the request reached {each.model} with other bytes than were sent"
        if each.model not in case.request.candidates:
            yield f"{each.model} was not requested"
        if each.model in tried and not closed_unheard(tried[each.model]):
            yield f"a duplicate generation: {each.model} received it twice"
        tried[each.model] = each
        if before is not None and (before.ended or each.began) > each.began + GRACE:
            yield f"two attempts at a time: {before.model} and {each.model}"
        before = each
        if seen.first_byte is not None and each.began > seen.first_byte:
            yield f"{each.model} received a request after the first byte had reached the client"
        if each.ended is None:
            yield f"the attempt on {each.model} was never closed"
        elif seen.left and each.ended > seen.ended + 2 * GRACE:
            yield f"the attempt on {each.model} outlived its client"


# -- the client


def _outcome(case: Case, seen: Observed, times: Times) -> tuple[str, list[str]]:
    """Return the outcome of the request, and complaints about the response."""
    if seen.late:
        return "never ended", ["the response did not end in time"]
    if seen.wrong:
        return "no HTTP", [f"the response is not HTTP: {seen.wrong}"]
    if seen.status is None:
        return _no_answer(case, seen)
    complaints = (
        [] if seen.value("x-request-id") == case.request.nonce else ["a foreign x-request-id"]
    )
    if case.request.refused is not None:
        return f"refused {seen.status}", [*complaints, *_refused(case, seen)]
    if seen.value(NONCE_FIELD) is None:
        code = error_code(seen.body) if seen.whole else ""
        if seen.left and not seen.whole:
            return "left", complaints
        return f"own {code}", [*complaints, *_own(case, seen, code or "", times)]
    outcome, more = _relayed(case, seen, times)
    return outcome, [*complaints, *more]


def _no_answer(case: Case, seen: Observed) -> tuple[str, list[str]]:
    if seen.left:
        return "left", []
    if seen.orphan:
        return "orphaned", [
            "a request after the end of the connection was forwarded"
        ] if case.attempts else []
    if case.request.slow_client and any(each.outcome == "client_stalled" for each in case.records):
        return "stalled", []
    return "no answer", ["the connection ended without a response"]


def _refused(case: Case, seen: Observed) -> Iterator[str]:
    """Check a request that the router must refuse."""
    wanted = case.request.refused
    assert wanted is not None
    if case.attempts:
        yield "a request that had to be refused reached the upstream"
    if (seen.status, error_code(seen.body), seen.whole) != (wanted.status, wanted.code, True):
        got = f"{seen.status} {seen.body[:200]!r}"
        yield f"expected {wanted.status} {wanted.code}, got {got}"


def _own(case: Case, seen: Observed, code: str, times: Times) -> Iterator[str]:
    """Check an error of the router: it must match the last failure, with no candidates left."""
    if _STATUSES.get(code) != seen.status:
        yield f"an error that is not allowed here: {seen.status} {seen.body[:200]!r}"
        return
    if not seen.whole:
        yield "a truncated error of the router"
    for record in case.records:
        if code == "upstream_total_timeout":
            if seen.ended - seen.began < 0.9 * times.total:
                yield f"{code} after {seen.ended - seen.began:.1f} s"
            continue
        last = record.failovers[-1] if record.failovers else "nothing"
        if last not in _LAST_REASONS[code]:
            yield f"{code} after {last}"
        if _candidates_left(record, times):
            yield f"gave up after {record.attempts} attempts with {record.candidates} candidates"


def _relayed(case: Case, seen: Observed, times: Times) -> tuple[str, list[str]]:
    """Check a relayed response: it must be the last attempt's, byte for byte."""
    if seen.value(NONCE_FIELD) != case.request.nonce:
        return "foreign", [f"the response to {seen.value(NONCE_FIELD)}"]
    if not case.attempts:
        return "foreign", ["a response without an attempt"]
    chosen = case.attempts[-1]
    complaints = list(_head(case, seen, chosen))
    left = any(_candidates_left(record, times) for record in case.records)
    if _turns(case, chosen) and left:
        complaints.append(f"{chosen.act.kind} was relayed with candidates left")
    # An error that arrived slowly is relayed as it came, any other with an `error` for SDKs.
    shaped = shaped_error(chosen.sent_body, chosen.act.status)
    expected = shaped if shaped.startswith(seen.body) else chosen.sent_body
    if seen.whole:
        if not (chosen.whole or (chosen.act.sse and is_finished(seen.body))):
            complaints.append(f"a clean end of a truncated response ({chosen.act.kind})")
        complaints.append(differs(seen.body, expected))
        return "whole", [each for each in complaints if each]
    if seen.left:
        wrong = differs(seen.body, expected, lossy=True)
        lossy = chosen.act.ending is Ending.RESET
        has_event = chosen.act.sse and not chosen.whole
        if has_event and ends_in_event(seen.body, chosen.sent_body, lossy=lossy):
            wrong = ""
        return "left", [*complaints, *filter(None, [wrong])]
    outcome, wrong = _cut(case, seen, chosen, times)
    return outcome, [*complaints, *filter(None, [wrong])]


def _head(case: Case, seen: Observed, chosen: Attempt) -> Iterator[str]:
    if seen.value(MODEL_FIELD) != chosen.model:
        yield f"{seen.value(MODEL_FIELD)} answered, but {chosen.model} received the last request"
    if seen.status != chosen.act.status:
        yield f"status {seen.status} instead of {chosen.act.status}"
    selected = seen.value("x-chutes-autopilot-selected")
    if selected != (None if case.request.direct else chosen.model):
        yield f"x-chutes-autopilot-selected is {selected}"
    attempts = seen.value("x-chutes-autopilot-attempts")
    for record in case.records:
        if attempts != (None if case.request.direct else str(record.attempts)):
            yield f"x-chutes-autopilot-attempts is {attempts}, the record says {record.attempts}"


def _turns(case: Case, chosen: Attempt) -> bool:
    return chosen.act.turns or (chosen.act.turns_unless_byte and case.request.commit != "byte")


def _candidates_left(record: Record, times: Times) -> bool:
    return record.attempts < min(record.candidates, times.max_attempts)


def _cut(case: Case, seen: Observed, chosen: Attempt, times: Times) -> tuple[str, str]:
    """Check a truncated response: only the upstream or a slow client may be the cause."""
    if case.request.slow_client and any(each.outcome == "client_stalled" for each in case.records):
        return "stalled", differs(seen.body, chosen.sent_body, lossy=True)
    lossy = chosen.act.ending is Ending.RESET
    if chosen.whole or (chosen.act.sse and not lossy and is_finished(chosen.sent_body)):
        return "cut", "a complete response was truncated"
    if not chosen.played and not _fell_silent(chosen, times):
        return "cut", "the router aborted a response that was still arriving"
    if case.request.commit == "complete" and chosen.act.status == 200:
        return "cut", "a truncated response, although commit was `complete`"
    if chosen.act.sse:
        return "cut, with event", cut_stream(seen.body, chosen.sent_body, lossy=lossy)
    return "cut", differs(seen.body, chosen.sent_body, lossy=lossy)


def _fell_silent(chosen: Attempt, times: Times) -> bool:
    ended = chosen.ended or chosen.began
    return chosen.silence >= 0.8 * times.idle or times.stalled(chosen.began, ended)


# -- the log


def _records(case: Case, seen: Observed, times: Times) -> Iterator[str]:
    """Check that there is one record, which agrees with both ends."""
    wanted = _wanted_records(case, seen)
    if len(case.records) not in wanted:
        yield f"{len(case.records)} records in the log instead of {max(wanted)}"
    for record in case.records[:1]:
        yield from _record(case, seen, record, times)


def _wanted_records(case: Case, seen: Observed) -> tuple[int, ...]:
    if case.request.refused is not None:
        return (1,) if case.request.refused.recorded else (0, 1)
    if case.attempts or seen.status is not None:
        return (1,)
    if seen.orphan or not seen.sent:
        return (0,)
    return (0, 1) if seen.left else (1,)


def _record(case: Case, seen: Observed, record: Record, times: Times) -> Iterator[str]:
    explained = explain(record.failovers, case.attempts, times, seen.began, seen.ended)
    if explained.left is None or len(explained.left) > 1:
        acts = [f"{each.act.kind} {each.seconds:.2f} s" for each in case.attempts]
        yield f"failovers {record.failovers} are not what the upstream did: {acts}"
    if seen.left:
        return
    if record.status != seen.status and seen.status is not None:
        yield f"the record says status {record.status}"
    if seen.value(NONCE_FIELD) is None:
        own = "failed" if seen.status in (500, 502, 504) else "refused"
        if record.outcome not in (own, "client_stalled"):
            yield f"the record says {record.outcome}"
        return
    relayed = "completed" if (seen.status or 0) < 400 else "relayed_error"
    if seen.status == 200 and not seen.body:
        relayed = "upstream_empty"
    if seen.status == 200 and seen.body.startswith(b'{"detail": '):
        relayed = "upstream_error"
    if seen.whole and (record.outcome, record.size) != (relayed, len(seen.body)):
        yield f"the record says {record.outcome} and {record.size} bytes, not {len(seen.body)}"
    if not seen.whole and record.outcome not in _BROKEN and not case.request.slow_client:
        yield f"the record says {record.outcome} of a truncated response"
