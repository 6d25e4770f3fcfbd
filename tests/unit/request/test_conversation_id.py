"""What stands for a conversation: ids from headers and bodies, else its opening."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw
from twisted.trial.unittest import SynchronousTestCase

from autopilot.http.headers import by_name
from autopilot.request.body import ParsedBody, parse_body
from autopilot.request.conversation_id import SESSION_FIELDS, conversation_id, told_by
from autopilot.request.json_fast import BodyFields

_SYSTEM = {"role": "system", "content": "You are brief."}
_USER = {"role": "user", "content": "Why is the sky blue?"}
_LATER = (
    {"role": "assistant", "content": "Scattering."},
    {"role": "user", "content": "And the sunset?"},
)


def _id(body: Mapping[str, Any], *fields: tuple[bytes, bytes], **spelled: Any) -> bytes:
    parsed = parse_body(json.dumps({"model": "m", **body}, **spelled).encode())
    assert isinstance(parsed, ParsedBody), parsed
    return conversation_id(by_name(fields), parsed.fields)


def _chat(*messages: object, **members: object) -> bytes:
    return _id({"messages": messages, **members})


def _message(role: str, *parts: object) -> dict[str, object]:
    return {"role": role, "content": list(parts)}


class ToldByTests(SynchronousTestCase):
    """What tells a conversation, in words."""

    def told(self, *fields: tuple[bytes, bytes], **body: Any) -> str | None:
        """Return the words for a request."""
        parsed = parse_body(json.dumps({"model": "m", **body}).encode())
        assert isinstance(parsed, ParsedBody), parsed
        return told_by(by_name(fields), parsed.fields)

    def test_headers(self) -> None:
        """The first field in the contract's order that has an id, before what the body has."""
        for at, name in enumerate(SESSION_FIELDS):
            fields = [(each, b"id") for each in reversed(SESSION_FIELDS[at:])]
            told = self.told(*fields, prompt_cache_key="k", messages=[_USER])
            self.assertEqual(told, f"header {name.decode()}")
        fields = [(SESSION_FIELDS[0], b" "), (SESSION_FIELDS[1], b"x" * 256)]
        self.assertEqual(self.told(*fields, session_id="s"), "body session_id")

    def test_bodies(self) -> None:
        """The members in their order, else the opening, else nothing."""
        both = {"prompt_cache_key": "k", "session_id": "s", "messages": [_USER]}
        self.assertEqual(self.told(**both), "body prompt_cache_key")
        for none in ("", 7, "x" * 256):
            self.assertEqual(self.told(**{**both, "prompt_cache_key": none}), "body session_id")
            self.assertEqual(self.told(session_id=none, messages=[_USER]), "opening")
            self.assertIsNone(self.told(session_id=none))


class HeaderTests(SynchronousTestCase):
    """The header fields of agents."""

    def test_each(self) -> None:
        """Each field names the conversation, whatever is said in it."""
        for name in SESSION_FIELDS:
            first = _id({"messages": [_USER]}, (name, b"one"))
            self.assertEqual(first, _id({"messages": [_SYSTEM]}, (name.title(), b" one ")), name)
            self.assertNotEqual(first, _id({"messages": [_USER]}, (name, b"two")), name)

    def test_order(self) -> None:
        """The first field in the contract's order counts, wherever the client puts it."""
        for at, name in enumerate(SESSION_FIELDS[:-1]):
            fields = [(each, b"id of " + each) for each in reversed(SESSION_FIELDS[at:])]
            self.assertEqual(_id({}, *fields), _id({}, (name, b"id of " + name)))

    def test_no_ids(self) -> None:
        """An empty value, or one over 255 bytes, leaves it to the next source."""
        for value in (b"", b" \t", b"x" * 256):
            fields = ((b"x-session-id", value), (b"session-id", b"one"))
            self.assertEqual(_id({}, *fields), _id({}, (b"session-id", b"one")))
            self.assertEqual(_id({"messages": [_USER]}, fields[0]), _chat(_USER))
        self.assertNotEqual(_id({}, (b"session-id", b"x" * 255)), b"")

    def test_before_the_body(self) -> None:
        """A header counts before the body's ids."""
        body = {"prompt_cache_key": "two", "session_id": "three"}
        self.assertEqual(_id(body, (b"x-session-id", b"one")), _id({}, (b"x-session-id", b"one")))


class BodyIdTests(SynchronousTestCase):
    """The ids in bodies."""

    def test_members(self) -> None:
        """`prompt_cache_key` counts before `session_id`, and both before the opening."""
        both = _chat(_USER, prompt_cache_key="a", session_id="b")
        self.assertEqual(both, _id({"prompt_cache_key": "a"}))
        self.assertEqual(_chat(_USER, session_id="b"), _id({"session_id": "b"}))
        self.assertNotEqual(both, _id({"session_id": "b"}))

    def test_no_ids(self) -> None:
        """What is empty, no text, or over 255 bytes is no id."""
        for value in ("", None, 7, ["a"], {"a": "b"}, "é" * 128, "x" * 256, "\n" * 300):
            self.assertEqual(_chat(_USER, prompt_cache_key=value), _chat(_USER), repr(value))
        self.assertNotEqual(_id({"prompt_cache_key": "\n" * 255}), b"")

    def test_spelling(self) -> None:
        """Escapes make no difference."""
        plain = _id({"session_id": "größe"}, ensure_ascii=False)
        self.assertEqual(_id({"session_id": "größe"}), plain)

    def test_no_id_looks_like_an_opening(self) -> None:
        """What a client says cannot be another one's id."""
        self.assertNotEqual(_id({"prompt": "one"}), _id({"session_id": "one"}))


class OpeningTests(SynchronousTestCase):
    """The first system and the first user message."""

    def test_turns(self) -> None:
        """Later turns do not change it; another beginning does."""
        first = _chat(_SYSTEM, _USER)
        self.assertEqual(first, _chat(_SYSTEM, _USER, *_LATER))
        others = (
            _chat(_SYSTEM),
            _chat(_USER),
            _chat(_SYSTEM, _LATER[1]),
            _chat({"role": "system", "content": "Be long."}, _USER),
        )
        self.assertEqual(len({first, *others}), 5)

    def test_developer(self) -> None:
        """A developer's message is a system message."""
        self.assertEqual(_chat({**_SYSTEM, "role": "developer"}, _USER), _chat(_SYSTEM, _USER))

    def test_parts(self) -> None:
        """Texts count, as a string or as parts; what clients move about does not."""
        text = {"type": "text", "text": _USER["content"]}
        plain = _chat(_USER, *_LATER)
        marked = {**text, "cache_control": {"type": "ephemeral"}}
        image = {"type": "image_url", "image_url": {"url": "data:,x"}}
        several: tuple[tuple[Any, ...], ...]
        several = (text,), (marked,), (image, text), (text["text"],), (text, None, 7, [])
        for parts in several:
            self.assertEqual(_chat(_message("user", *parts), *_LATER), plain, parts)
        self.assertNotEqual(_chat(_message("user", text, text)), plain)

    def test_anthropic(self) -> None:
        """The system prompt beside the messages counts, as a string or as blocks."""
        plain = _chat(_USER, system="You are brief.")
        block = {"type": "text", "text": "You are brief.", "cache_control": {"type": "ephemeral"}}
        self.assertEqual(_chat(_USER, *_LATER, system=[block]), plain)
        self.assertNotEqual(_chat(_USER), plain)
        self.assertNotEqual(_chat(_USER, system="You are long."), plain)

    def test_responses(self) -> None:
        """Instructions and input: a text, or the first item of the user's."""
        item = _message("user", {"type": "input_text", "text": "Why?"})
        reasoning = {"type": "reasoning", "summary": []}
        plain = _id({"instructions": "Be brief.", "input": "Why?"})
        for items in ([item], [reasoning, item], [item, reasoning, _message("user", "And?")]):
            self.assertEqual(_id({"instructions": "Be brief.", "input": items}), plain)
        self.assertNotEqual(_id({"input": "Why?"}), plain)
        self.assertNotEqual(_id({"instructions": "Be brief.", "input": "How?"}), plain)

    def test_prompt(self) -> None:
        """The first KiB of a prompt, text or not."""
        start = "x" * 1024
        self.assertEqual(_id({"prompt": start + "a"}), _id({"prompt": start + "b"}))
        self.assertNotEqual(_id({"prompt": "a"}), _id({"prompt": "b"}))
        self.assertNotEqual(_id({"prompt": [1, 2]}), _id({"prompt": [1, 3]}))

    def test_bounded(self) -> None:
        """The first 16 KiB of each text count, and no more are kept."""
        start = "y" * 16_384
        first = _chat({"role": "user", "content": start + "a"})
        self.assertEqual(first, _chat({"role": "user", "content": start + "b"}))
        self.assertNotEqual(first, _chat({"role": "user", "content": start[1:]}))
        escaped = _chat(_message("user", *[{"text": '"' * 100_000}] * 16), system="\n" * 500_000)
        self.assertLess(len(escaped), 2 * 16_384 + 64)

    def test_later_ones_are_not_looked_at(self) -> None:
        """A user's message behind sixteen others does not count."""
        crowd = [{"role": "assistant", "content": "a"}] * 16
        self.assertEqual(_chat(_SYSTEM, *crowd, _USER), _chat(_SYSTEM))
        self.assertEqual(_chat(*crowd, _USER), b"")

    def test_long(self) -> None:
        """A conversation keeps its identity while it grows, at a cost that does not."""
        marked = {"type": "text", "text": _USER["content"], "cache_control": {"type": "x"}}
        for system in ("You are brief.", "ä\n" * 3_000, "z" * 50_000):
            opening = ({"role": "system", "content": system}, _message("user", marked))
            first = _chat(*opening)
            for turns in (4, 400, 4_000):
                self.assertEqual(_chat(*opening, *_LATER * turns), first, (len(system), turns))
                self.assertNotEqual(_chat(opening[0], *_LATER * turns), first)
        crowd = _chat({"role": "system", "content": "z" * 50_000}, *[{}] * 600_000)
        self.assertLess(len(crowd), 16_500)

    def test_the_beginning_suffices(self) -> None:
        """Of many messages, none is read but the first ones."""
        crowd = Raw(b'[{"role":"user","content":"Why?"},' + b"{}," * 200_000 + b"{")
        self.assertEqual(
            conversation_id({}, BodyFields(messages=crowd)),
            _chat({"role": "user", "content": "Why?"}, *[{}] * 20_000),
        )

    def test_nothing(self) -> None:
        """Without any of them, nothing stands for the conversation."""
        self.assertEqual(_id({}), b"")
        messages: object
        for messages in ([], 7, [7], None, [[]], [{}]):
            self.assertEqual(_id({"messages": messages}), b"", messages)
        self.assertEqual(_chat({"role": "user"}), _chat({"role": "user", "content": None}))

    def test_odd_messages_of_a_long_body(self) -> None:
        """What no model would accept is no opening, however long the body is."""
        end = {"role": "user", "content": "x" * 20_000}
        odd: object
        for odd in ({"role": []}, {"role": {}}, {"role": 7}, {"role": None}, {"content": 7}, {}):
            self.assertEqual(_chat(odd, end), _chat(end), odd)
        for odd in ([_USER], [], "text", 7, None):
            self.assertEqual(_chat(odd, end), b"", odd)
        self.assertEqual(_id({"messages": "x" * 20_000}), b"")
        self.assertEqual(_id({"messages": {"role": "user", "content": "x" * 20_000}}), b"")

    def test_half_a_surrogate(self) -> None:
        """Half of a surrogate pair is a text like others."""
        self.assertNotEqual(_chat({"role": "user", "content": "\ud800"}), b"")

    @given(st.recursive(st.none() | st.booleans() | st.floats() | st.text(), st.lists))
    def test_anything(self, value: object) -> None:
        """Whatever stands in the members, there is an answer."""
        for name in ("messages", "input", "prompt", "system", "instructions", "session_id"):
            body = json.dumps({"model": "m", "messages": [_USER], name: value})
            parsed = parse_body(body.encode())
            if isinstance(parsed, ParsedBody):
                self.assertIsInstance(conversation_id({}, parsed.fields), bytes)
