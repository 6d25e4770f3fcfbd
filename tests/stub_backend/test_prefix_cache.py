"""Tests of the models' prefix caches."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from stub_backend import StubOptions
from stub_backend.ledger import told
from stub_backend.prefix_cache import BLOCK_TOKENS, PrefixCache, blocks_of
from stub_backend.prompt import prompt_words
from tests.stub_backend.exchange import Answer, Exchange

CACHING = StubOptions(token_delay=0.0, tokens=4, prefixes=2)


def words(name: str, count: int) -> list[str]:
    """Return this many words that no other name has."""
    return [f"{name}{number}" for number in range(count)]


def text(name: str, count: int = 40) -> str:
    """Return a text of this many words."""
    return " ".join(words(name, count))


class CacheTests(SynchronousTestCase):
    """The cache alone."""

    def cached(self, cache: PrefixCache, tokens: Iterable[str], model: str = "a") -> int:
        """Return the cached tokens of a prompt."""
        return cache.cached_tokens(model, blocks_of(list(tokens)))

    def test_whole_blocks(self) -> None:
        """The common prefix counts in whole blocks; one without a whole block is not kept."""
        cache = PrefixCache(4)
        cache.keep("a", blocks_of(words("x", 39)))
        self.assertEqual(self.cached(cache, words("x", 39)), 32)
        self.assertEqual(self.cached(cache, words("x", 100)), 32)
        self.assertEqual(self.cached(cache, words("x", 20) + words("y", 30)), 16)
        self.assertEqual(self.cached(cache, words("y", 1) + words("x", 39)), 0)
        cache.keep("a", blocks_of(words("z", BLOCK_TOKENS - 1)))
        self.assertEqual(self.cached(cache, words("z", BLOCK_TOKENS - 1)), 0)

    def test_models(self) -> None:
        """Another model has none of it."""
        cache = PrefixCache(4)
        cache.keep("a", blocks_of(words("x", 32)))
        self.assertEqual(self.cached(cache, words("x", 32), "b"), 0)
        cache.clear()
        self.assertEqual(self.cached(cache, words("x", 32)), 0)

    def test_least_recently_used(self) -> None:
        """The prompt that was not used for the longest time is dropped first."""
        cache = PrefixCache(2)
        for name in ("x", "y", "x", "z"):
            cache.keep("a", blocks_of(words(name, 32)))
        self.assertEqual([self.cached(cache, words(each, 32)) for each in "xyz"], [32, 0, 32])

    def test_turns(self) -> None:
        """The next turn takes the place of the one that it contains."""
        cache = PrefixCache(2)
        cache.keep("a", blocks_of(words("y", 32)))
        for turn in range(1, 6):
            cache.keep("a", blocks_of(words("x", 16 * turn)))
        self.assertEqual([self.cached(cache, words(each, 80)) for each in "xy"], [80, 32])

    def test_disabled(self) -> None:
        """A cache of no prompts keeps none."""
        cache = PrefixCache(0)
        cache.keep("a", blocks_of(words("x", 32)))
        self.assertFalse(cache.enabled)
        self.assertEqual(self.cached(cache, words("x", 32)), 0)

    @given(
        st.lists(st.lists(st.sampled_from("xy"), max_size=4), max_size=12),
        st.lists(st.sampled_from("xy"), max_size=4),
        st.integers(1, 4),
    )
    def test_plain_model(self, kept: list[list[str]], asked: list[str], prefixes: int) -> None:
        """It equals a list of prompts that is searched for the longest common prefix."""
        cache, model = PrefixCache(prefixes), list[list[str]]()
        for each in kept:
            cache.keep("a", blocks_of(words_of(each)))
            if each:
                model = [one for one in model if each[: len(one)] != one] + [each]
                model = model[-prefixes:]
        longest = max((common(asked, each) for each in model), default=0)
        self.assertEqual(self.cached(cache, words_of(asked)), longest * BLOCK_TOKENS)


def words_of(blocks: Iterable[str]) -> list[str]:
    """Return a prompt of whole blocks."""
    return [word for name in blocks for word in words(name, BLOCK_TOKENS)]


def common(one: list[str], other: list[str]) -> int:
    """Return the length of the longest common prefix."""
    pairs = enumerate(zip(one, other, strict=False))
    return next((number for number, (a, b) in pairs if a != b), min(len(one), len(other)))


class PromptTests(SynchronousTestCase):
    """The words of a prompt."""

    def test_each_api(self) -> None:
        """Instructions come first, then all messages in order."""
        said = [{"role": "user", "content": "one two"}, {"role": "assistant", "content": "three"}]
        expected = ["be", "kind", "one", "two", "three"]
        first = {"role": "system", "content": "be kind"}
        self.assertEqual(prompt_words({"messages": [first, *said]}), expected)
        self.assertEqual(prompt_words({"system": "be kind", "messages": said}), expected)
        self.assertEqual(prompt_words({"instructions": "be kind", "input": said}), expected)
        self.assertEqual(prompt_words({"instructions": "be kind", "input": "one"}), expected[:3])
        self.assertEqual(prompt_words({"prompt": "one two"}), expected[2:4])
        self.assertEqual(prompt_words({}), [])

    def test_parts(self) -> None:
        """Parts without a text, calls of tools and their results count as well."""
        parts = [{"type": "text", "text": "a b"}, {"type": "image_url", "image_url": {"url": "c"}}]
        body: dict[str, Any] = {"messages": [{"role": "user", "content": parts}, "d"]}
        self.assertEqual(
            prompt_words(body), ["a", "b", '{"type":"image_url","image_url":{"url":"c"}}', "d"]
        )
        call = {"role": "assistant", "content": None, "tool_calls": [{"id": "x"}]}
        result = {"type": "function_call_output", "output": "sunny"}
        self.assertEqual(prompt_words({"input": [call, result]}), ['{"id":"x"}', "sunny"])


class UsageTests(SynchronousTestCase):
    """The cache of a running stub."""

    def setUp(self) -> None:
        """Start a stub with small caches."""
        self.exchange = Exchange(CACHING)

    def asked(self, path: str = "/v1/chat/completions", **members: Any) -> Answer:
        """Return the response to a call."""
        answer = self.exchange.ask(members.pop("model", "stub/ok"), path=path, **members)
        assert answer is not None
        return answer

    def test_turns_in_each_api(self) -> None:
        """The second turn of a conversation reports the whole blocks of the first as cached."""
        for path in ("/v1/chat/completions", "/v1/messages", "/v1/responses", "/v1/completions"):
            for stream in (False, True):
                self.exchange.stub.reset()
                first, second = (
                    self.asked(path, stream=stream, **turns(path, number)) for number in (1, 2)
                )
                (_, one), (cached, two) = counts(first), counts(second)
                self.assertEqual((one, cached, two), (48, 32, 88), (path, stream))

    def test_failures(self) -> None:
        """A call that fails, or that counts tokens only, leaves the cache as it was."""
        messages = [{"role": "user", "content": text("x")}]
        self.exchange.stub.script("stub/ok", ["503-cold"])
        self.asked(messages=messages)
        self.asked("/v1/messages/count_tokens", messages=messages)
        self.assertEqual(counts(self.asked(messages=messages)), (0, 48))
        self.assertEqual(counts(self.asked(messages=messages)), (32, 48))
        counted = self.asked("/v1/messages/count_tokens", messages=messages)
        self.assertEqual(counted.json(), {"input_tokens": 48})

    def test_disabled(self) -> None:
        """By default nothing is cached."""
        self.exchange = Exchange()
        for _ in range(2):
            answer = self.asked(messages=[{"role": "user", "content": text("x")}])
            self.assertEqual(counts(answer), (0, 48))

    def test_first_token(self) -> None:
        """The delay before the head depends on the tokens that are not cached."""
        options = StubOptions(token_delay=0.0, prefixes=2, prefill_delay=0.5, first_token_delay=1.0)
        self.exchange = Exchange(options)
        taken = []
        for stream in (False, True):
            for _ in range(2):
                before = self.exchange.clock.seconds()
                said = [{"role": "user", "content": text(str(stream))}]
                self.exchange.send("POST", "/v1/chat/completions", body(said, stream=stream))
                self.exchange.run(60.0)
                taken.append(self.exchange.clock.seconds() - before)
        self.assertEqual(taken, [25.0, 9.0] * 2)


def body(messages: object, *, stream: bool) -> bytes:
    """Return the body of a chat call."""
    value = {"model": "stub/ok", "stream": stream, "messages": messages}
    return json.dumps(value).encode()


def turns(path: str, count: int) -> dict[str, Any]:
    """Return the members of a call with this many turns, each of 40 words."""
    said = [text(f"turn{turn}-") for turn in range(count)]
    messages = [{"role": "user", "content": each} for each in said]
    if path == "/v1/completions":
        return {"messages": None, "prompt": " ".join(said)}
    if path == "/v1/responses":
        return {"messages": None, "input": messages}
    return {"messages": messages}


def counts(answer: Answer) -> tuple[int, int]:
    """Return the cached tokens and those of the whole prompt that a response reports."""
    found = told(answer.body)
    return found.cached, found.prompt
