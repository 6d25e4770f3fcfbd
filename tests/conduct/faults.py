"""Sixteen faults of the first of two models, neither of which the catalog has.

Every answer has 60 words within about a second; the fallback always works. A verdict states what
the client receives (judge.py); a fault may require more than a complete answer.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import chain, islice
from typing import Any

from autopilot.settings.files.fallbacks import FallbackEntry, FallbacksFile
from stub_backend import Stub
from stub_backend.answers.error_responses import error_response
from stub_backend.call import Call
from stub_backend.dialect import compact
from stub_backend.generation import sentence
from stub_backend.log import Received
from stub_backend.scenario import JSON, Scenario, streamed
from stub_backend.steps import Headers, Steps
from tests.conduct.judge import Answer, Verdict, judge, read, worst
from tests.conduct.seen import Seen
from tests.conduct.served import Served, other_stub, question

PRIMARY, FALLBACK = "primary", "fallback"
# They report their token counts in different members.
ENGINES = {PRIMARY: "sglang", FALLBACK: "vllm"}
WORDS = 60
_PACE = 1 / WORDS
_OUTAGE = 60.0
_EVERY = 4.0
_REQUESTS = 20
_OTHER, _OTHER_HOST = "other", "192.0.2.2"


@dataclass(frozen=True, slots=True)
class Course:
    """The result of one request: the client's view, and the calls of both models."""

    seen: Seen
    primary: Sequence[Received]
    fallback: Sequence[Received]

    @property
    def calls(self) -> int:
        """The number of calls of both models."""
        return len(self.primary) + len(self.fallback)

    @property
    def answered_by(self) -> str:
        """The model that the response names; empty if it names none or two."""
        return next(iter(self.seen.models)) if len(self.seen.models) == 1 else ""


Rule = Callable[[Course], bool]


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault: the first model performs ``script``, then ``then``; ``rule`` must hold too."""

    name: str
    then: str | Scenario
    rule: Rule = lambda _course: True
    script: tuple[str | Scenario, ...] = ()
    status: int = 200
    lost: int = 0
    fallback: str = "ok"


@dataclass(frozen=True, slots=True)
class Judged:
    """The verdict on a fault, with its facts."""

    verdict: Verdict
    answer: Answer
    seconds: float
    first_word: float | None
    primary_calls: int
    fallback_calls: int


def _error(status: int, error: dict[str, Any], extra: Headers = ()) -> Scenario:
    """Return a scenario with an error in OpenAI's shape."""

    def answer(call: Call) -> Steps:
        return error_response(call, status, JSON, compact({"error": error}), extra)

    return Scenario(f"{status}-object", "an error object", answer, status, JSON)


def _broken_event(call: Call) -> Steps:
    """Truncate the JSON of the thirtieth word's event."""
    events = call.dialect.stream(call.generation())
    tokens = iter(events.tokens)
    before, event = list(islice(tokens, 29)), next(tokens)
    broken = event[: len(event) // 2].rstrip() + b"\n\n"
    rest = chain(before, [broken], tokens, events.closing, events.done)
    return streamed(call, chain(events.opening, rest))


_LIMITED = {"message": "Rate limit reached.", "type": "requests", "code": "rate_limit_exceeded"}
_LIMIT_ONCE = _error(429, _LIMITED, (("retry-after", "2"),))
_LIMIT = _error(429, _LIMITED)
_CRASH = _error(500, {"message": "The server had an error.", "type": "server_error", "code": None})
_OVERLOADED = _error(503, {"message": "Overloaded.", "type": "server_error", "code": None})
_TOO_LONG = _error(
    400,
    {
        "message": "This model's maximum context length is 8192 tokens. However, your messages "
        "resulted in 9000 tokens.",
        "type": "invalid_request_error",
        "param": "messages",
        "code": "context_length_exceeded",
    },
)
_POLICY = _error(
    400,
    {
        "message": "The prompt was rejected by the content policy.",
        "type": "invalid_request_error",
        "param": None,
        "code": "content_policy_violation",
    },
)
_BROKEN = Scenario("broken-event", "one word whose event is broken JSON", _broken_event)


def _waited(course: Course) -> bool:
    return (
        course.answered_by == PRIMARY
        and len(course.primary) == 2
        and course.primary[1].at - course.primary[0].at >= 2.0
    )


def _at_most_four(course: Course) -> bool:
    return course.calls <= 4


def _by_primary(course: Course) -> bool:
    return course.answered_by == PRIMARY


def _within(seconds: float) -> Rule:
    return lambda course: course.seen.seconds <= seconds


def _first_word_within(seconds: float) -> Rule:
    def rule(course: Course) -> bool:
        first = course.seen.first_word
        return first is not None and first <= seconds

    return rule


def _one_of_fallback(course: Course) -> bool:
    return len(course.fallback) == 1


def _none_of_fallback(course: Course) -> bool:
    return not course.fallback


def _as_the_fallback_says(course: Course) -> bool:
    usage = course.seen.usage or {}
    own = usage.get("completion_tokens") == WORDS and "reasoning_tokens" not in usage
    return course.answered_by == FALLBACK and own


FAULTS: tuple[Fault, ...] = (
    Fault("one 429 with Retry-After: 2, then well", "ok", _waited, script=(_LIMIT_ONCE,)),
    Fault("429 without Retry-After, always", _LIMIT, _at_most_four),
    Fault("one 500, then well", "ok", _by_primary, script=(_CRASH,)),
    Fault("503 always", _OVERLOADED, _at_most_four),
    Fault("reset before the head, once", "ok", script=("reset",)),
    Fault("silence for 120 s", "silent-two-minutes", _within(65.0)),
    Fault("head at once, first word after 20 s", "late-first-token", _first_word_within(18.0)),
    Fault("cut after 40 words", "cut-40-of-60"),
    Fault("20 words, 30 s of silence, cut", "stall-after-20", _within(45.0)),
    Fault("one event is broken JSON", _BROKEN, lost=1),
    Fault("no [DONE]", "no-done"),
    Fault("400, context exceeded", _TOO_LONG, _one_of_fallback),
    Fault("400, content policy", _POLICY, _none_of_fallback, status=400),
    Fault("cut, and a fallback without prefill", "cut-40-of-60", fallback="no-prefill"),
    Fault("503 for 60 s, twenty requests", _OVERLOADED),
    Fault("503 always: the fallback's model and usage", _OVERLOADED, _as_the_fallback_says),
)
_MANY = FAULTS[14]


@dataclass(frozen=True, slots=True)
class Pair:
    """A router with both models; the second may be another service's, with a stub of its own."""

    served: Served
    second: Stub
    asked: str

    def calls(self) -> tuple[list[Received], list[Received]]:
        """Return the calls of each model."""
        return self.served.calls(PRIMARY), self.second.calls(FALLBACK)


def pair(commit: str, *, across: bool) -> Pair:
    """Return a router; ``across``: the fallback belongs to another service than the primary."""
    settings: dict[str, Any] = {"unknown_models": "forward", "commit": commit}
    if across:
        other = FallbackEntry(_OTHER, f"http://{_OTHER_HOST}/v1", "other-key", (FALLBACK,))
        settings["fallbacks_file"] = FallbacksFile("fallbacks", (other,))
    served = Served(tokens=WORDS, token_delay=_PACE, **settings)
    second, asked = served.stub, FALLBACK
    if across:
        # Nothing of the first stub's, not even its feeds.
        second, asked = other_stub(served.network, WORDS, _PACE), f"@{_OTHER}/{FALLBACK}"
        served.network.others[_OTHER_HOST] = second.site
    served.stub.population.add_unlisted(PRIMARY, ENGINES[PRIMARY])
    second.population.add_unlisted(FALLBACK, ENGINES[FALLBACK])
    return Pair(served, second, f"{PRIMARY},{asked}")


@cache  # the result is always the same, because no clock or random number is involved
def try_fault(fault: Fault, commit: str, *, across: bool = False) -> Judged:
    """Run one fault under ``commit``, "content" or "complete"."""
    both = pair(commit, across=across)
    both.served.stub.script(PRIMARY, fault.script, fault.then)
    both.second.script(FALLBACK, (), fault.fallback)
    return _outage(fault, both) if fault is _MANY else _one(fault, both, "Tell a story.")


def _one(fault: Fault, both: Pair, text: str) -> Judged:
    before = tuple(map(len, both.calls()))
    seen = both.served.post(question(both.asked, text))
    primary, fallback = (calls[count:] for calls, count in zip(both.calls(), before, strict=True))
    course = Course(seen, primary, fallback)
    answer = read(seen)
    texts = {
        name: [piece.text for piece in sentence(name, text, WORDS)] for name in (PRIMARY, FALLBACK)
    }
    verdict = judge(
        answer, texts, by_the_rule=fault.rule(course), status=fault.status, lost=fault.lost
    )
    return Judged(verdict, answer, seen.seconds, seen.first_word, len(primary), len(fallback))


def _outage(fault: Fault, both: Pair) -> Judged:
    """Send twenty requests of one client, one every 4 s; the outage ends after 60 s."""
    served = both.served
    began, judged, over = served.network.seconds(), list[Judged](), 0
    for number in range(_REQUESTS):
        served.network.pass_time(began + number * _EVERY - served.network.seconds())
        if number * _EVERY == _OUTAGE:
            over = number
            served.stub.script(PRIMARY, (), "ok")
        judged.append(_one(fault, both, f"Tell story {number}."))
    calls = sum(each.primary_calls for each in judged[:over])
    recovered = {PRIMARY} == set(judged[-1].answer.models)
    verdict = worst([each.verdict for each in judged])
    if verdict is Verdict.PASS and not (calls <= 15 and recovered):
        verdict = Verdict.PARTIAL
    last = judged[-1]
    return Judged(
        verdict,
        last.answer,
        max(each.seconds for each in judged),
        last.first_word,
        calls,
        sum(each.fallback_calls for each in judged),
    )
