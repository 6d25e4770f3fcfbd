"""How long a prompt is at least, in tokens."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from autopilot.request import body as request_body
from autopilot.request.conversation import Conversation
from autopilot.request.prompt_length import tokens_beyond
from autopilot.routing.requirements import Needs


def beyond(limit: int, **members: object) -> int | None:
    """Return the lower bound for a body with these members."""
    ask = request_body.parse_body(json.dumps({"model": "m", **members}).encode())
    assert isinstance(ask, request_body.ParsedBody)
    fields = ask.fields
    conversation = Conversation(ask.template.whole, fields.messages, fields.input)
    return tokens_beyond(conversation, fields, limit)


def said(*contents: object, role: str = "user") -> list[object]:
    """Messages with these contents."""
    return [{"role": role, "content": content} for content in contents]


class LengthTests(SynchronousTestCase):
    """Words are counted, for no token holds two."""

    def test_more_than_the_limit(self) -> None:
        """A count is given only beyond the limit."""
        self.assertIsNone(beyond(3, messages=said("one two three")))
        self.assertEqual(beyond(2, messages=said("one two three")), 3)

    def test_kinds_of_prompts(self) -> None:
        """In every place where a prompt may stand, and in the shapes that it may have."""
        text = "one two\nthree\tfour"
        part = {"type": "text", "text": text}
        for members in (
            {"messages": said(text)},
            {"messages": said("one", "two", "three four")},
            {"messages": said("one two", role="system") + said("three four", role="tool")},
            {"messages": said([part])},
            {"messages": said(["one two", {"type": "input_text", "text": "three four"}])},
            {"input": text},
            {"input": said(text)},
            {"prompt": text},
            {"prompt": ["one", text, "two"]},
            {"prompt": [1, 2, 3, 4]},
            {"prompt": [[1], [1, 2, 3, 4]]},
        ):
            self.assertEqual(beyond(3, **members), 4, members)

    def test_long_texts(self) -> None:
        """Words far behind the beginning count, and all of those behind the first that tell."""
        letters = "x" * (1 << 18)
        self.assertEqual(beyond(3, prompt=f"{letters} two three four"), 4)
        self.assertIsNone(beyond(4, prompt=f"{letters} two three four"))
        many = 300_000
        self.assertEqual(beyond(3, prompt=[1] * many), many)
        self.assertEqual(beyond(3, prompt="a " * many), many)

    def test_only_what_is_certain(self) -> None:
        """Blanks make no words; what the assistant said may be left out; the rest is no prompt."""
        blanks = " \n\t" * 50
        for members in (
            {"messages": said(f"{blanks}one{blanks}two{blanks}")},
            {"messages": said("a b c d e f", role="assistant")},
            {"messages": said({"text": 1}, 5, None, [1, None, {"text": ["a b c d"]}])},
            {"messages": {"content": "a b c d e"}, "input": 5, "prompt": {"a": "b c d e"}},
            {"messages": [], "tools": [{"description": "a b c d e f"}], "prompt": []},
        ):
            self.assertIsNone(beyond(3, **members), members)

    def test_odd_text(self) -> None:
        """Half of a surrogate pair and any other letter are parts of words."""
        self.assertEqual(beyond(1, prompt="\ud800 \u4e2d\u6587 \xe9"), 3)

    def test_blanks_in_any_spelling(self) -> None:
        """An escaped blank ends a word, and is none; an escaped backslash is no escape."""
        for blank in (
            *(b"\\n", b"\\t", b"\\r", b"\\f", b"\\u0009", b"\\u000a", b"\\u000A"),
            *(b"\\u000b", b"\\u000B", b"\\u000C", b"\\u000d", b"\\u0020"),
        ):
            text = b'"a %b b%bc \\\\n\\"\\u0041 %b"' % (blank, blank, blank)
            self.assertEqual(self.words(text), 4, blank)

    def test_texts_of_escapes(self) -> None:
        """Where a text consists of escapes, nothing is counted, rather than too much."""
        for unit in (b"\\n", b"a\\n", b"\\\\", b"\\u0020a", b" \\u0009 "):
            self.assertIsNone(self.words(b'"%b"' % (unit * 20_000)), unit)
        for unit, words in (
            (b"abcdefgh\\n", 1),
            (b"ab \\\\n cd \\u00e9 efghijklmno ", 5),
            (b"abcd " * 8 + b"\\u0020", 8),
        ):
            self.assertEqual(self.words(b'"%b "' % (unit * 20_000)), words * 20_000, unit)

    def words(self, text: bytes) -> int | None:
        """Return the words of a prompt, given as JSON."""
        ask = request_body.parse_body(b'{"model":"m","prompt":%b}' % text)
        assert isinstance(ask, request_body.ParsedBody)
        return tokens_beyond(Conversation(b""), ask.fields, 1)

    @given(st.lists(st.text(), max_size=8))
    def test_same_as_split(self, texts: list[str]) -> None:
        """As many as Python finds, or fewer where blanks are none for every tokenizer."""
        words = sum(len(text.split()) for text in texts)
        found = beyond(0, messages=said(*texts)) or 0
        self.assertLessEqual(found, words)
        self.assertEqual(
            found, sum(len(text.encode("utf-8", "surrogatepass").split()) for text in texts)
        )


class NeedTests(SynchronousTestCase):
    """When it becomes a need."""

    def needs(self, least_context: int | None, words: int) -> Needs:
        """The needs of a request with so many words."""
        body = json.dumps({"model": "m", "messages": said("word " * words)}).encode()
        ask = request_body.parse_body(body)
        assert isinstance(ask, request_body.ParsedBody)
        return ask.needs(least_context)

    def test_need(self) -> None:
        """A prompt that is longer than the shortest context; none without one."""
        self.assertEqual(self.needs(100, 101), Needs(prompt_tokens=101))
        self.assertEqual(self.needs(100, 100), Needs())
        self.assertEqual(self.needs(None, 1000), Needs())

    def test_short_words(self) -> None:
        """The shortest words there are do not escape by the body's size."""
        body = json.dumps({"model": "m", "messages": said("a " * 101)}).encode()
        ask = request_body.parse_body(body)
        assert isinstance(ask, request_body.ParsedBody)
        self.assertEqual(ask.needs(100), Needs(prompt_tokens=101))
