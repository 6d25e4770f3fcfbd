"""Collects the observations of all sides: open cases, judged cases, and tallies."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from time import monotonic
from typing import Final

from tests.rigs.soak.failovers import Times
from tests.rigs.soak.judge import judge
from tests.rigs.soak.observations import Attempt, Case, Observed, Record
from tests.rigs.soak.requests import SoakRequest

_RIPENING: Final = 1.5
_LATE_RECORD: Final = 5.0
"""Seconds longer for a record that the router may leave out."""
"""Seconds after its response in which a request may still show a fault."""

_MOST_EXPLAINED: Final = 200


class Ledger:
    """Cases by nonce; each is judged and removed once all sides have reported."""

    def __init__(self, times: Times, now: Callable[[], float] = monotonic) -> None:
        self._times = times
        self._now = now
        self._open: dict[str, Case] = {}
        self._judged: set[str] = set()
        self.tally: Counter[tuple[str, str]] = Counter()
        self.acts: Counter[str] = Counter()
        self.outcomes: Counter[str] = Counter()
        self.records = 0
        self.violations: list[str] = []
        self.violated = 0

    @property
    def open(self) -> int:
        """The number of cases not yet judged."""
        return len(self._open)

    @property
    def judged(self) -> int:
        """The number of judged cases."""
        return len(self._judged)

    def opened(self, request: SoakRequest) -> None:
        """Open a case; the client is about to send the request."""
        self._open[request.nonce] = Case(request)

    def request(self, nonce: str) -> SoakRequest | None:
        """Return the request with this nonce, unless it has been judged."""
        case = self._open.get(nonce)
        return None if case is None else case.request

    def attempted(self, nonce: str, attempt: Attempt) -> None:
        """Record that a request has reached the upstream."""
        self.acts[attempt.act.kind] += 1
        case = self._open.get(nonce)
        if case is None:
            self.violation(nonce, f"{attempt.model} received a request that had ended")
        else:
            case.attempts.append(attempt)

    def seen(self, nonce: str, seen: Observed) -> None:
        """Record what the client observed of the whole response."""
        self._open[nonce].seen = seen

    def recorded(self, record: Record) -> None:
        """Record a log entry of the router."""
        self.records += 1
        self.outcomes[record.outcome] += 1
        case = self._open.get(record.nonce)
        if case is not None:
            case.records.append(record)
        elif record.nonce in self._judged or not _without_id(record):
            self.violation(record.nonce, "a surplus record in the log")

    def violation(self, nonce: str, what: str) -> None:
        """Record a violation; the first ones are kept in full."""
        self.violated += 1
        if len(self.violations) < _MOST_EXPLAINED:
            self.violations.append(f"{nonce}: {what}")

    def settle(self, *, all_of_them: bool = False) -> None:
        """Judge the cases that are complete, or all at the end."""
        limit = self._now() - _RIPENING
        for nonce, case in list(self._open.items()):
            if all_of_them or _ripe(case, limit):
                del self._open[nonce]
                self._judged.add(nonce)
                self._judge(nonce, case)

    def _judge(self, nonce: str, case: Case) -> None:
        if case.seen is None:
            self.tally["never ended", case.fault] += 1
            self.violation(nonce, "its client never finished")
            return
        verdict = judge(case, self._times)
        self.tally[verdict.outcome, verdict.fault] += 1
        for complaint in verdict.complaints:
            self.violation(nonce, f"{complaint} [{_describe(case)}]")


def _without_id(record: Record) -> bool:
    """Return whether a record may be of a head that ended before its id, which the router refused.

    Then the id is the router's own.
    """
    return (record.outcome, record.attempts, record.candidates) == ("refused", 0, 0)


def _ripe(case: Case, limit: float) -> bool:
    seen = case.seen
    if seen is None or seen.ended > limit or not case.settled:
        return False
    refused = case.request.refused
    if refused is not None and not refused.recorded:
        return bool(case.records) or seen.ended <= limit - _LATE_RECORD
    return bool(case.records or not (refused or case.attempts or seen.status))


def _describe(case: Case) -> str:
    """Describe the case in one line."""
    request, seen = case.request, case.seen
    assert seen is not None
    acts = [
        f"{each.model}: {each.act.kind}, {each.sent}/{each.act.wire_size} B, {each.seconds:.2f} s"
        f"{', reused' if each.reused else ''}{', closed by the router' if each.by_router else ''}"
        for each in case.attempts
    ]
    record = case.records[0] if case.records else None
    logged = f"{record.outcome} {record.failovers}" if record else "no record"
    return (
        f"requested {request.selector!r}, stream={request.stream},"
        f" commit={request.commit or 'default'};"
        f" upstream: {acts}; received {seen.status}, {len(seen.body)} B, whole={seen.whole},"
        f" left={seen.left}, {seen.ended - seen.began:.2f} s; logged: {logged}"
    )
