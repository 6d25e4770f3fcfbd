"""The usage of an answer does not depend on its chunks, and is what its JSON says."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from autopilot.http.dialect import Dialect
from autopilot.routing.commit import Commit
from autopilot.routing.usage import Usage
from tests.unit.relay.chunks import cut, places
from tests.unit.relay.routers import RouterTestCase
from tests.unit.relay.upstreams import chunk, head

_tokens = st.integers(0, 999_999_999)
_texts = st.sampled_from(
    ("hi", "x" * 700, '"usage":{"prompt_tokens":7,"completion_tokens":7}', "{}}", "\n\n")
)


@dataclass(frozen=True)
class _Answer:
    """The JSON documents of an answer: those of a stream's events, or the one of a plain answer."""

    dialect: Dialect
    stream: bool
    documents: tuple[dict[str, Any], ...]

    @property
    def body(self) -> bytes:
        """The bytes of the whole answer."""
        texts = [json.dumps(each).encode() for each in self.documents]
        if not self.stream:
            return b"".join(texts)
        end = b"data: [DONE]\n\n" if self.dialect is Dialect.COMPLETIONS else b""
        return b"".join([b"data: %b\n\n" % text for text in texts]) + end

    def reported(self, number: int) -> Usage | None:
        """Return what the first documents report, by reading all of them."""
        members: dict[str, Any] = {}
        for each in self.documents[:number]:
            for holder in (each, each.get("message"), each.get("response")):
                if isinstance(holder, dict) and isinstance(holder.get("usage"), dict):
                    if self.dialect is not Dialect.MESSAGES:
                        members = {}
                    members |= holder["usage"]
        return _reference(members)


def _reference(reported: dict[str, Any]) -> Usage | None:
    """Return the counts of decoded members, written for plainness."""
    if not reported:
        return None
    prompt_details = (
        reported.get("prompt_tokens_details") or reported.get("input_tokens_details") or {}
    )
    details = (
        reported.get("completion_tokens_details") or reported.get("output_tokens_details") or {}
    )
    cached = prompt_details.get("cached_tokens", reported.get("cache_read_input_tokens"))
    if "prompt_tokens" in reported:
        prompt = reported["prompt_tokens"]
    elif "input_tokens" in reported:
        parts = (reported.get(f"cache_{kind}_input_tokens", 0) for kind in ("read", "creation"))
        prompt = reported["input_tokens"] + sum(parts)
    else:
        prompt = None
    return Usage(
        prompt,
        None if cached is not None and prompt is not None and cached > prompt else cached,
        reported.get("completion_tokens", reported.get("output_tokens")),
        details.get("reasoning_tokens", reported.get("reasoning_tokens")),
    )


@st.composite
def _chat_usage(draw: st.DrawFn, prompt: int, completion: int) -> dict[str, Any]:
    cached = st.none() | st.just({"cached_tokens": draw(st.integers(0, prompt + 5))})
    inner = {
        "prompt_tokens_details": cached,
        "completion_tokens_details": st.none() | st.just({"reasoning_tokens": completion // 2}),
        "reasoning_tokens": st.just(completion // 3),
        "total_tokens": st.just(prompt + completion),
    }
    extra = draw(st.fixed_dictionaries({}, optional=inner))
    return {"prompt_tokens": prompt, "completion_tokens": completion, **extra}


@st.composite
def _chat(draw: st.DrawFn) -> _Answer:
    running, prompt, choices = draw(st.booleans()), draw(_tokens), []
    for place, text in enumerate(draw(st.lists(_texts, min_size=1, max_size=8))):
        usage = draw(_chat_usage(prompt, place)) if running else None
        choice = {"index": 0, "delta": {"content": text}}
        choices.append({"choices": [choice], "usage": usage})
    stop = {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}
    last = {"choices": [], "usage": draw(_chat_usage(prompt, draw(_tokens)))}
    return _Answer(Dialect.COMPLETIONS, True, (*choices, stop, last))


@st.composite
def _message(draw: st.DrawFn) -> _Answer:
    prompt = {"input_tokens": draw(_tokens)}
    if draw(st.booleans()):
        prompt["cache_read_input_tokens"] = draw(_tokens)
        prompt["cache_creation_input_tokens"] = draw(_tokens)
    start = {"type": "message_start", "message": {"usage": {**prompt, "output_tokens": 1}}}
    texts = [
        {"type": "content_block_delta", "delta": {"text": text}}
        for text in draw(st.lists(_texts, min_size=1, max_size=8))
    ]
    repeated = prompt if draw(st.booleans()) else {}
    usage = {**repeated, "output_tokens": draw(_tokens)}
    delta = {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": usage}
    return _Answer(Dialect.MESSAGES, True, (start, *texts, delta, {"type": "message_stop"}))


@st.composite
def _response(draw: st.DrawFn) -> _Answer:
    usage: dict[str, Any] = {"input_tokens": draw(_tokens), "output_tokens": draw(_tokens)}
    if draw(st.booleans()):
        usage["input_tokens_details"] = {"cached_tokens": draw(_tokens)}
        usage["output_tokens_details"] = {"reasoning_tokens": draw(_tokens)}
    texts = draw(st.lists(_texts, min_size=1, max_size=8))
    deltas = [{"type": "response.output_text.delta", "delta": text} for text in texts]
    output = "".join(texts)
    done = {"status": "completed", "output": [{"text": output}], "usage": usage, "user": None}
    first = {"type": "response.created", "response": {"usage": None}}
    last = {"type": "response.completed", "response": done}
    return _Answer(Dialect.RESPONSES, True, (first, *deltas, last))


@st.composite
def _plain(draw: st.DrawFn) -> _Answer:
    text = draw(_texts) * draw(st.integers(1, 80))
    usage = draw(_chat_usage(draw(_tokens), draw(_tokens)))
    members = [("choices", [{"message": {"content": text}}]), ("usage", usage), ("id", "1")]
    return _Answer(Dialect.COMPLETIONS, False, (dict(draw(st.permutations(members))),))


_streams = st.one_of(_chat(), _message(), _response())
_cuts = places(6000)


class UsageProperties(RouterTestCase):
    """Answers of the only candidate and of the first of two, in any chunks."""

    def answer(
        self, answer: _Answer, pieces: Sequence[bytes], commit: Commit, models: str
    ) -> Usage | None:
        """Let the upstream answer, end early if the answer does, and return the usage reported."""
        self.build(commit=commit)
        self.records.clear()
        self.clients.clear()
        self.ask(models, stream=answer.stream, dialect=answer.dialect)
        kind = b"text/event-stream" if answer.stream else b"application/json"
        self.wire.says(head(200, kind), *map(chunk, pieces))
        if not self.records:
            self.wire.says(chunk(b""))
        return self.record.usage

    @settings(max_examples=100)
    @given(_streams, st.sampled_from(list(Commit)), st.sampled_from(("a", "a,b")), _cuts)
    def test_streams(self, answer: _Answer, commit: Commit, models: str, where: list[int]) -> None:
        """A stream reports what its events say, one byte a chunk or all in one."""
        expected = answer.reported(len(answer.documents))
        for pieces in (cut(answer.body, where), cut(answer.body, range(len(answer.body)))):
            self.assertEqual(self.answer(answer, pieces, commit, models), expected)

    @settings(max_examples=60)
    @given(_plain(), st.sampled_from([Commit.CONTENT, Commit.COMPLETE]), _cuts)
    def test_plain(self, answer: _Answer, commit: Commit, where: list[int]) -> None:
        """So does a plain answer that is held until it is whole, wherever its usage stands."""
        pieces = cut(answer.body, where)
        self.assertEqual(self.answer(answer, pieces, commit, "a,b"), answer.reported(1))

    @settings(max_examples=100)
    @given(_streams, st.data(), _cuts)
    def test_broken(self, answer: _Answer, data: st.DataObject, where: list[int]) -> None:
        """A stream that ends between two events reports what those before say."""
        number = data.draw(st.integers(2, len(answer.documents)))
        begun = _Answer(Dialect.RESPONSES, True, answer.documents[:number])
        pieces = cut(begun.body, where)
        self.assertEqual(self.answer(answer, pieces, Commit.BYTE, "a"), answer.reported(number))
