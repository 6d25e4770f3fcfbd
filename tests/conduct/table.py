"""The conduct table: misbehaviours of a model, with a second model as the fallback.

Expectations follow from the contract, not from the router: a model without a byte is replaced at 12
s (and a little for the request's size); an answer that has begun is never replaced; an answer held
until it is complete (`COMMIT=complete`) has not begun for the client.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from tests.conduct.seen import CUT, NO_MARK, WHOLE
from tests.conduct.served import TOKEN_DELAY

# An answer consists of an event with the role, 60 tokens, the finish reason, the usage and
# `[DONE]`. The first event comes at once, every other one TOKEN_DELAY after the previous one.
_EVENTS = 64
ANSWER = (_EVENTS - 1) * TOKEN_DELAY
# `FAILOVER_AFTER_MS`, and 1 s for each 8 KB of request: these have about 0.1 KB.
PATIENCE = 12.0
# The connection closes one pause after the last of 40 tokens, and 30 s after the last of 20.
_CUT_AT = (40 + 1) * TOKEN_DELAY
_STALL_OVER_AT = 20 * TOKEN_DELAY + 30.0


@dataclass(frozen=True, slots=True)
class Conduct:
    """The client's view, its time in virtual seconds, and the calls of both models.

    ``first_aborted``: the router aborted the first model's call.
    """

    status: int
    end: str
    by_second: bool
    tokens: int
    seconds: float
    second_calls: int
    first_calls: int = 1
    first_aborted: bool = False
    code: str | None = None


@dataclass(frozen=True, slots=True)
class Row:
    """A misbehaviour: the first model performs ``script`` and then ``then``."""

    name: str
    script: Sequence[str]
    then: str
    content: Conduct
    complete: Conduct
    second: str = "stub/ok"
    first: str = "stub/ok-vllm"

    def expected(self, commit: str) -> Conduct:
        """Return the expected result under ``commit``, "content" or "complete"."""
        return self.content if commit == "content" else self.complete


SECOND = Conduct(200, WHOLE, by_second=True, tokens=60, seconds=ANSWER, second_calls=1)
FIRST = replace(SECOND, by_second=False, second_calls=0)
LATE = replace(SECOND, seconds=PATIENCE + ANSWER, first_aborted=True)
BROKEN_JSON = replace(FIRST, seconds=ANSWER + TOKEN_DELAY)
NO_DONE = replace(FIRST, end=NO_MARK, seconds=ANSWER - TOKEN_DELAY)


def _refused(status: int) -> Conduct:
    return Conduct(status, WHOLE, by_second=False, tokens=0, seconds=0.0, second_calls=0)


def _cut(tokens: int, at: float) -> Conduct:
    code = "upstream_stream_interrupted"
    return Conduct(200, CUT, False, tokens, seconds=at, second_calls=0, code=code)


def _second_from(at: float) -> Conduct:
    return replace(SECOND, seconds=at + ANSWER)


UNREADABLE = replace(_second_from((1 + 30) * TOKEN_DELAY), first_aborted=True)

ROWS = (
    # A limit of the account: another model would not help, and more calls would harm.
    Row("429 with Retry-After once", ["429-retry-after"], "ok", _refused(429), _refused(429)),
    Row("429 always", [], "429-account", _refused(429), _refused(429)),
    # A limit of the model is different.
    Row("429, no capacity", [], "429-capacity", SECOND, SECOND),
    Row("500 once", ["500-exhausted"], "ok", SECOND, SECOND),
    Row("503 always", [], "503-cold", SECOND, SECOND),
    Row("reset before headers", [], "reset", SECOND, SECOND),
    Row("silence for two minutes", [], "silent-two-minutes", LATE, LATE),
    Row("headers at once, first token after 20 s", [], "late-first-token", LATE, LATE),
    Row("cut after 40 of 60 tokens", [], "cut-40-of-60", _cut(40, _CUT_AT), _second_from(_CUT_AT)),
    Row(
        "stall after 20 tokens, then close",
        [],
        "stall-after-20",
        _cut(20, _STALL_OVER_AT),
        replace(_second_from(20 * TOKEN_DELAY + PATIENCE), first_aborted=True),
    ),
    # The router repairs nothing: the invalid event and the missing terminator reach the client as
    # sent.
    Row("broken JSON in one event", [], "broken-json-event", BROKEN_JSON, UNREADABLE),
    Row("200 with a JSON error", [], "error-json-200", SECOND, SECOND),
    Row("no [DONE]", [], "no-done", NO_DONE, NO_DONE),
    Row("400 context exceeded", [], "400-context", SECOND, SECOND, first="stub/400-context"),
    Row("400 content policy", [], "400-content-policy", _refused(400), _refused(400)),
    # A fallback receives the client's request, never one to continue a partial answer.
    Row(
        "a cut whose fallback refuses prefill",
        [],
        "cut-40-of-60",
        _cut(40, _CUT_AT),
        _second_from(_CUT_AT),
        second="stub/no-prefill",
    ),
    Row("503, the fallback's model and usage reported", [], "503-disabled", SECOND, SECOND),
)
