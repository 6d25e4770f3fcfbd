"""Correct cases for the tests of the judge, which then spoil them."""

from __future__ import annotations

from dataclasses import replace

from twisted.trial.unittest import SynchronousTestCase

from tests.rigs.soak.acts import LAST_CHUNK, SSE, Act, Ending, Part, chunk, cut, head, raw
from tests.rigs.soak.comparison import is_finished, shaped_error, split_event
from tests.rigs.soak.failovers import Times
from tests.rigs.soak.generation import Generation
from tests.rigs.soak.judge import judge
from tests.rigs.soak.observations import Attempt, Case, Observed, Record
from tests.rigs.soak.requests import ALIAS, MODELS, SoakRequest

OWN, FOREIGN = "soak-1-1", "soak-1-2"
ONE, TWO = MODELS[:2]
TIMES = Times(failover_after=0.8, idle=2.0, total=8.0, max_attempts=4)
EVENT = (
    b'data: {"error":{"type":"server_error","message":"The answer is incomplete.","param":null,'
    b'"code":"upstream_stream_interrupted"}}\n\n'
)


def request(**changes: object) -> SoakRequest:
    """Return a streamed request with a list of models."""
    usual = SoakRequest(OWN, f"{ONE}, {TWO}", (ONE, TWO), stream=True)
    return replace(usual, **changes)  # type: ignore[arg-type]


def generation(model: str = ONE, nonce: str = OWN) -> Generation:
    """Return that model's response."""
    return Generation(nonce, model, 5)


def streamed(answer: Generation) -> Act:
    """Return a complete stream."""
    return Act("good", (head(answer, 200, SSE), *map(chunk, answer.events()), LAST_CHUNK), sse=True)


def plain(answer: Generation) -> Act:
    """Return a complete unary response."""
    return Act("good", (head(answer, 200, length=len(answer.body())), raw(answer.body())))


def broken(act: Act, behind: int, ending: Ending = Ending.CLOSE) -> Act:
    """Return an act that stops some bytes before its end."""
    return replace(
        act,
        kind="closed",
        steps=cut(act.steps, act.wire_size - behind),
        ending=ending,
        whole=False,
        reasons=frozenset({"connection_lost", "cut"}),
    )


def failing(reason: str = "status_503", model: str = ONE) -> Act:
    """Return an act that requires failover."""
    wire = head(generation(model), 503, length=0)
    return Act("503", (wire,), 503, reasons=frozenset({reason}), turns=True)


def silent() -> Act:
    """Return an act without a byte, which waits for the router to close."""
    return Act("silent", (), sse=True, ending=Ending.HANG, whole=False)


def attempt(act: Act, model: str = ONE, began: float = 1.0, **changes: object) -> Attempt:
    """Return an attempt whose act was sent completely."""
    sent = sum(len(step.wire) for step in act.steps if isinstance(step, Part))
    usual = Attempt(model, act, began, sent=sent, spoke=began, played=True, ended=began + 0.1)
    return replace(usual, **changes)  # type: ignore[arg-type]


def case(
    asked: SoakRequest, *attempts: Attempt, failovers: tuple[str, ...] = (), **changes: object
) -> Case:
    """Return a case in which the client received the last attempt's response, with its record.

    A complete error has the `error` for SDKs. A stream truncated after an event gets its error
    event, one truncated after its finish reason a clean end. `changes` apply to what the client
    observed.
    """
    chosen = attempts[-1]
    body, whole = chosen.sent_body, chosen.whole
    if whole:
        body = shaped_error(body, chosen.act.status)
    if not whole and chosen.act.sse:
        whole = is_finished(body)
        body += EVENT if not whole and (not body or body.endswith(b"\n\n")) else b""
    fields = {
        "x-request-id": [asked.nonce],
        "x-soak-nonce": [asked.nonce],
        "x-soak-model": [chosen.model],
    }
    count = len(failovers) + 1
    if not asked.direct:
        fields["x-chutes-autopilot-selected"] = [chosen.model]
        fields["x-chutes-autopilot-attempts"] = [str(count)]
    seen = Observed(0.9, 2.0, 1.5, chosen.act.status, fields, body, whole)
    relayed = "completed" if (chosen.act.status or 0) < 400 else "relayed_error"
    outcome = relayed if whole else "upstream_broken"
    size = len(split_event(body)[0])
    record = Record(
        asked.nonce, outcome, chosen.act.status, count, len(asked.candidates), failovers, size
    )
    return Case(asked, list(attempts), replace(seen, **changes), [record])  # type: ignore[arg-type]


def own_error(
    asked: SoakRequest, code: str, status: int, *attempts: Attempt, failovers: tuple[str, ...]
) -> Case:
    """Return a case with an error of the router."""
    body = b'{"error":{"type":"server_error","message":"No.","param":null,"code":"%b"}}'
    fields = {"x-request-id": [asked.nonce]}
    seen = Observed(0.9, 2.0, 1.5, status, fields, body % code.encode(), whole=True)
    outcome = "failed" if status in (500, 502, 504) else "refused"
    record = Record(
        asked.nonce, outcome, status, len(failovers), len(asked.candidates), failovers, 0
    )
    return Case(asked, list(attempts), seen, [record])


ALIASED = request(selector=ALIAS, candidates=MODELS)


class JudgeTestCase(SynchronousTestCase):
    """A test case with assertions about complaints of the judge."""

    def assert_right(self, found: Case, outcome: str) -> None:
        """Assert that the judge has no complaint."""
        verdict = judge(found, TIMES)
        self.assertEqual((verdict.complaints, verdict.outcome), ((), outcome))

    def assert_wrong(self, found: Case, complaint: str) -> None:
        """Assert that the judge has this complaint."""
        complaints = judge(found, TIMES).complaints
        self.assertTrue(any(complaint in each for each in complaints), complaints)
