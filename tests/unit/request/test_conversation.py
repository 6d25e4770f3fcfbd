"""What is found in the messages of a body, and where looking ends."""

from __future__ import annotations

import json
from typing import Any
from unittest.mock import patch

from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw
from twisted.trial.unittest import SynchronousTestCase

from autopilot.request import conversation as module
from autopilot.request.body import ParsedBody, parse_body
from autopilot.request.conversation import Conversation, may_hold_parts
from autopilot.routing.requirements import Needs

_IMAGE = {"type": "image_url", "image_url": {"url": "data:,x"}}
_WORDS = "some words of code: {'type': \"image\"} {}\n" * 5
_SIZE = 4 << 20


def _conversation(messages: object) -> Conversation:
    body = json.dumps({"messages": messages}).encode()
    return Conversation(body, Raw(json.dumps(messages).encode()))


def _kinds(messages: object) -> set[str]:
    return _conversation(messages).part_kinds()


def _texts(messages: object) -> list[str]:
    return [json.loads(bytes(text)) for found in _conversation(messages).texts() for text in found]


class PartTests(SynchronousTestCase):
    """Content parts by kind."""

    def test_in_a_long_conversation(self) -> None:
        """An image is found wherever it stands in megabytes of an honest conversation."""
        call = {"id": "call_1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
        turns: list[dict[str, Any]] = [
            {"role": "user", "content": [{"type": "text", "text": _WORDS * 4}]},
            {"role": "assistant", "content": None, "tool_calls": [call]},
            {"role": "tool", "tool_call_id": "call_1", "content": json.dumps([{"a": 1}] * 90)},
            {"role": "assistant", "content": _WORDS},
        ]
        turns *= _SIZE // len(json.dumps(turns))
        self.assertEqual(self.needs(turns), Needs())
        image = {"role": "user", "content": [{"type": "text", "text": "x"}, _IMAGE]}
        for place in (0, len(turns) // 2, len(turns)):
            self.assertEqual(
                self.needs([*turns[:place], image, *turns[place:]]), Needs(images=True), place
            )

    def needs(self, messages: object) -> Needs:
        """Return the needs of a body with these messages."""
        body = parse_body(json.dumps({"model": "m", "messages": messages}, indent=1).encode())
        assert isinstance(body, ParsedBody)
        return body.needs()

    def test_only_in_content(self) -> None:
        """The same member elsewhere, or deeper, is not a part."""
        for message in (
            {"role": "user", "type": "image", "content": "x"},
            {"content": {"type": "image"}},
            {"content": [[_IMAGE]]},
            {"content": [{"type": "text", "input": _IMAGE}]},
            {"content": [{"type": "text", "input": [_IMAGE]}]},
            {"content": [{"type": "x", "content": [{"type": "x", "content": [_IMAGE]}]}]},
            {"metadata": [_IMAGE], "content": [{"type": "text"}]},
            {"content": json.dumps([_IMAGE])},
            {"content": [{"type": "text", "text": json.dumps([_IMAGE])}]},
        ):
            self.assertEqual(_kinds([message]), set(), message)

    def test_kinds(self) -> None:
        """Each kind, also among parts that are strings or null, and in a tool's result."""
        for kind, need in module._KINDS.items():
            part = {"text": "x", "type": kind}
            for content in ([part], ["x", None, part], [{"type": "y", "content": [part]}]):
                self.assertEqual(_kinds([{"content": "x"}, {"content": content}]), {need}, content)
        parts = [{"type": kind} for kind in ("image", "input_audio", "video_url")]
        self.assertEqual(_kinds([{"content": parts}]), {"images", "audio", "video"})
        self.assertEqual(
            _kinds([{"content": [part]} for part in parts]), {"images", "audio", "video"}
        )

    def test_spelled_with_escapes(self) -> None:
        """An escape may spell any letter of a kind or of a name."""
        for part in (
            b'{"type":"\\u0069mage"}',
            b'{"\\u0074ype":"image"}',
            b'{"type":"image\\u005furl"}',
            b'{"type":"image\\u005Furl"}',
        ):
            text = b'[{"content":[{"type":"text","text":"\\u0041"},%b]}]' % part
            self.assertTrue(may_hold_parts(text))
            self.assertEqual(Conversation(text, Raw(text)).part_kinds(), {"images"}, part)

    def test_after_many_in_vain(self) -> None:
        """Lists that only seem to hold parts end the look after a while."""
        vain = [{"content": [{"type": "x", "y": _IMAGE}]}]
        image = [{"content": [_IMAGE]}]
        self.assertEqual(_kinds(vain * 64 + image), {"images"})
        self.assertEqual(_kinds(vain * 65 + image), set())

    def test_after_many_objects(self) -> None:
        """Where there are very many objects nothing is known; braces in texts are no objects."""
        image = [{"content": [_IMAGE]}]
        small = [{"content": "x"}]
        self.assertEqual(_kinds(small * 8180 + image), {"images"})
        self.assertEqual(_kinds(small * 10_000 + image), set())
        self.assertEqual(_kinds([{}] * 9000 + image), {"images"})
        self.assertEqual(_kinds([{}] * 12_000 + image), set())
        for text in (
            "{{" * 2_000_000,
            "if x {}; { 'a': {a} } " * 50_000,
            json.dumps(small * 90_000),
        ):
            self.assertEqual(_kinds([{"content": text}, *image]), {"images"}, text[:30])

    @given(st.lists(st.sampled_from(["{}", '{"', "{ }", "{  ", "{", " ", "}", '"']), max_size=50))
    def test_objects_are_counted_once(self, pieces: list[str]) -> None:
        """Counting in slices misses none at the border of two, and counts none twice."""
        body = "".join(pieces).encode()
        for patterns, name in ((module._OBJECTS, "_OBJECTS"), (module._EMPTY_OBJECTS, "")):
            exact = sum(map(body.count, patterns))
            with (
                patch.object(module, "_OBJECTS", patterns if name else ()),
                patch.object(module, "_EMPTY_OBJECTS", () if name else patterns),
                patch.object(module, "_BYTES_PER_EMPTY_OBJECT", 1000),
                patch.object(module, "_COUNTED_AT_ONCE", 3),
            ):
                for most in (exact, max(0, exact - 1)):
                    with patch.object(module, "_MAX_OBJECTS", most):
                        self.assertEqual(module._has_many_objects(body), exact > most)


class RemoteTests(SynchronousTestCase):
    """Parts by their URLs; ``test_private_body`` has every form of them."""

    def test_members(self) -> None:
        """Each member is searched, and one that is absent or no list has none."""
        remote = Raw(b'[{"content":[{"image_url":"http://a"}]}]')
        self.assertTrue(Conversation(bytes(remote), Raw(b'"a"'), remote).has_remote_parts())
        self.assertFalse(Conversation(bytes(remote), Raw(), Raw(b"null")).has_remote_parts())

    def test_depth(self) -> None:
        """Parts of parts are looked at, and no deeper: no body makes the search long."""
        part: dict[str, object] = {"image_url": "http://a"}
        for found in (True, True, False):
            self.assertIs(_conversation([{"content": [part]}]).has_remote_parts(), found)
            part = {"content": [part]}

    def test_many_objects(self) -> None:
        """Where there are very many objects, nothing is known."""
        part = {"image_url": "http://a"}
        self.assertTrue(_conversation([{"content": [part]}]).has_remote_parts())
        self.assertFalse(_conversation([{"content": [part] * 12_000}]).has_remote_parts())


class TextTests(SynchronousTestCase):
    """The texts of messages."""

    def test_texts(self) -> None:
        """Texts, and those of parts; not the assistant's, in any spelling of the role."""
        parts = ["a", {"type": "text", "text": "b"}, {"text": 5}, None, {"type": "image"}]
        messages = [
            {"role": "user", "content": "c"},
            {"content": parts},
            {"role": "assistant", "content": "d"},
            {"role": "user"},
            {"role": "tool", "content": None},
        ]
        self.assertEqual(_texts(messages), ["c", "a", "b"])
        spelled = Raw(b'[{"role":"\\u0061ssistant","content":"e"},{"content":"f"}]')
        self.assertEqual(
            [[bytes(x) for x in y] for y in Conversation(b"", spelled).texts()], [[b'"f"']]
        )

    def test_a_text_for_a_list(self) -> None:
        """A member may be a text; absent ones have none."""
        found = list(Conversation(b"", Raw(b'"a"'), Raw(), Raw(b"null")).texts())
        self.assertEqual([list(map(bytes, each)) for each in found], [[b'"a"'], []])

    def test_long_lists_of_parts(self) -> None:
        """Strings among many parts leave those out; a text of any length is one."""
        long = [{"text": "x" * 20_000}]
        self.assertEqual(_texts([{"content": long}]), ["x" * 20_000])
        self.assertEqual(_texts([{"content": [*long, "y"]}, {"content": "z"}]), ["z"])

    def test_many_lists(self) -> None:
        """After many lists of parts only plain texts count."""
        messages = [{"content": [{"text": "x"}]}] * 2050 + [{"content": "y"}]
        self.assertEqual(_texts(messages), ["x"] * 2048 + ["y"])
        self.assertEqual(_texts([{}] * 12_000 + [{"content": "y"}]), [])
