"""The conduct table: what misbehaviours come to, each with a second model to turn to.

Expectations follow from the rules, not from the router: at 12 s (and a little for the request's
size) a model that has said nothing loses its turn, an answer that has begun is never exchanged, and
an answer held until it is complete (`COMMIT=complete`) has not begun for the client.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

WHOLE = "whole"
CUT = "cut with an error event"


@dataclass(frozen=True, slots=True)
class Conduct:
    """What a client sees, in which span of (virtual) seconds, and the calls of either model."""

    status: int
    end: str
    by_second: bool | None
    seconds: tuple[float, float]
    first_calls: int
    second_calls: int
    code: str | None = None


@dataclass(frozen=True, slots=True)
class Row:
    """A misbehaviour: the first model plays ``script`` and then ``then``."""

    name: str
    script: Sequence[str]
    then: str
    content: Conduct
    complete: Conduct
    second: str = "stub/ok"
    first: str = "stub/ok-vllm"


# One whole answer of 60 tokens takes about 3 s.
_ONE = (2.5, 3.7)
_AT_ONCE = (0.0, 0.1)
_AFTER_TWELVE = (14.5, 15.8)
SECOND = Conduct(200, WHOLE, by_second=True, seconds=_ONE, first_calls=1, second_calls=1)
FIRST = Conduct(200, WHOLE, by_second=False, seconds=_ONE, first_calls=1, second_calls=0)
LATE = Conduct(200, WHOLE, by_second=True, seconds=_AFTER_TWELVE, first_calls=1, second_calls=1)


def _refused(status: int) -> Conduct:
    return Conduct(status, WHOLE, None, _AT_ONCE, first_calls=1, second_calls=0)


def _cut(after: tuple[float, float]) -> Conduct:
    return Conduct(200, CUT, False, after, 1, 0, code="upstream_stream_interrupted")


def _both(after: tuple[float, float]) -> Conduct:
    return Conduct(200, WHOLE, by_second=True, seconds=after, first_calls=1, second_calls=1)


ROWS = (
    # An account's limit: another model would not help, and more calls would harm.
    Row("429 with Retry-After once", ["429-retry-after"], "ok", _refused(429), _refused(429)),
    Row("429 always", [], "429-account", _refused(429), _refused(429)),
    # The model's own limit is another matter.
    Row("429, no capacity", [], "429-capacity", SECOND, SECOND),
    Row("500 once", ["500-exhausted"], "ok", SECOND, SECOND),
    Row("503 always", [], "503-cold", SECOND, SECOND),
    Row("reset before headers", [], "reset", SECOND, SECOND),
    Row("silence for two minutes", [], "silent-two-minutes", LATE, LATE),
    Row("headers at once, first token after 20 s", [], "late-first-token", LATE, LATE),
    Row("cut after 40 of 60 tokens", [], "cut-40-of-60", _cut((1.5, 2.7)), _both((4.0, 6.4))),
    Row(
        "stall after 20 tokens, then close",
        [],
        "stall-after-20",
        _cut((30.0, 32.0)),
        _both((33.0, 35.5)),
    ),
    Row("broken JSON in one event", [], "broken-json-event", FIRST, FIRST),
    Row("no [DONE]", [], "no-done", FIRST, FIRST),
    Row("400 context exceeded", [], "400-context", SECOND, SECOND, first="stub/400-context"),
    Row("400 content policy", [], "400-content-policy", _refused(400), _refused(400)),
    Row(
        "a cut whose fallback refuses prefill",
        [],
        "cut-40-of-60",
        _cut((1.5, 2.7)),
        _both((4.0, 6.4)),
        second="stub/no-prefill",
    ),
    Row("503, the fallback's model and usage reported", [], "503-disabled", SECOND, SECOND),
)
