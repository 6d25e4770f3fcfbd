"""Judges a streamed chat answer as its client receives it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from tests.conduct.seen import NO_MARK, WHOLE, Seen

_DONE = b"[DONE]"


class Verdict(StrEnum):
    """The verdicts, from best to worst."""

    PASS = "pass"
    PARTIAL = "partial"
    SAFE = "safe"
    FAIL = "fail"


def worst(verdicts: Sequence[Verdict]) -> Verdict:
    """Return the worst of several verdicts."""
    return max(verdicts, key=list(Verdict).index)


@dataclass(frozen=True, slots=True)
class Answer:
    """The response as received.

    ``status`` is None if there was no response. ``ended``: the body ended as its framing requires.
    ``done``, ``error``, ``finished``: the events included the terminator, an error event, a finish
    reason. ``broken`` counts events with invalid JSON.
    """

    status: int | None
    ended: bool = False
    done: bool = False
    error: bool = False
    finished: bool = False
    words: tuple[str, ...] = ()
    models: frozenset[str] = frozenset()
    broken: int = 0

    @property
    def looks_whole(self) -> bool:
        """Whether a client considers it complete; clients stop reading at the terminator."""
        return self.status == 200 and not self.error and (self.done or self.ended)


def read(seen: Seen | None) -> Answer:
    """Parse a response; return None if there was none."""
    if seen is None:
        return Answer(None)
    words: list[str] = []
    models: set[str] = set()
    done = error = finished = False
    broken = 0
    for data in _data(seen):
        if data == _DONE:
            done = True
            break
        event = _object(data)
        if event is None:
            broken += 1
            continue
        error = error or bool(event.get("error"))
        models |= {event["model"]} if event.get("model") else set()
        for choice in event.get("choices") or ():
            finished = finished or bool(choice.get("finish_reason"))
            word = choice.get("delta", {}).get("content")
            words += [word] if word else []
    return Answer(
        seen.status,
        ended=seen.end in (WHOLE, NO_MARK),
        done=done,
        error=error,
        finished=finished,
        words=tuple(words),
        models=frozenset(models),
        broken=broken,
    )


def is_whole(answer: Answer, texts: Mapping[str, Sequence[str]], lost: int = 0) -> bool:
    """Return whether an answer is complete and from one model.

    ``texts`` are the words of each model. ``lost`` words may be missing if as many events are
    broken, which clients notice.
    """
    if not (answer.looks_whole and answer.finished) or len(answer.models) != 1:
        return False
    words = texts.get(next(iter(answer.models)), ())
    missing = len(words) - len(answer.words)
    return missing in (0, answer.broken) and missing <= lost and _in_order(answer.words, words)


def judge(
    answer: Answer,
    texts: Mapping[str, Sequence[str]],
    *,
    by_the_rule: bool = True,
    status: int = 200,
    lost: int = 0,
) -> Verdict:
    """Return the verdict.

    ``by_the_rule``: the fault's own rule holds. ``status`` is the expected status; a status other
    than 200 passes unchanged.
    """
    if answer.looks_whole:
        if not is_whole(answer, texts, lost):
            return Verdict.FAIL
        return Verdict.PASS if by_the_rule and status == 200 else Verdict.PARTIAL
    if answer.status is None:
        return Verdict.FAIL
    if answer.status == status != 200 and answer.ended and by_the_rule:
        return Verdict.PASS
    return Verdict.SAFE


def _data(seen: Seen) -> list[bytes]:
    if "event-stream" not in seen.headers.get("content-type", ""):
        return []
    events = seen.body.replace(b"\r\n", b"\n").split(b"\n\n")[:-1]
    lines = (line for event in events for line in event.split(b"\n"))
    return [line.removeprefix(b"data:").strip() for line in lines if line.startswith(b"data:")]


def _object(data: bytes) -> dict[str, Any] | None:
    try:
        value = json.loads(data)
    except ValueError:
        return None
    return value if isinstance(value, dict) else {}


def _in_order(some: Sequence[str], everything: Sequence[str]) -> bool:
    """Return whether ``some`` are among ``everything`` in the same order."""
    rest = iter(everything)
    return all(word in rest for word in some)
