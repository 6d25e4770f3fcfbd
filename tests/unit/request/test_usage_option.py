"""The request for usage that is added to a stream's body."""

from __future__ import annotations

import json

from twisted.trial.unittest import SynchronousTestCase

from autopilot.request.body import ParsedBody, parse_body
from autopilot.request.usage_option import ask_for_usage

_ADDED = b',"stream_options":{"include_usage":true}'


def parsed(body: bytes) -> ParsedBody:
    """Return a body that is valid."""
    found = parse_body(body)
    assert isinstance(found, ParsedBody), found
    return found


def sent(body: bytes, model: str = "m") -> bytes:
    """Return the bytes that go up for a candidate."""
    return ask_for_usage(parsed(body)).template.naming(model)


class AskingTests(SynchronousTestCase):
    """What is added, and where."""

    def test_without_options(self) -> None:
        """They become the last member; null counts as none."""
        for body, before, behind in (
            (b'{"model":"m","stream":true}', b'{"model":"m","stream":true', b"}"),
            (b' {"stream":true , "model":"m" } \n', b' {"stream":true , "model":"m" ', b"} \n"),
            (b'{"model":"}","x":"}"}', b'{"model":"m","x":"}"', b"}"),
            (b'{"x":1e400,"model":"}"}', b'{"x":1e400,"model":"m"', b"}"),
            (b'{"models":["}"],"x":1}', b'{"model":"m","x":1', b"}"),
            (b'{"stream_options":null,"model":"m"}', b'{"model":"m"', b"}"),
            (b'{"model":"m","stream":null,"x":"\xc3\xa4"}', b'{"model":"m","x":"\xc3\xa4"', b"}"),
            (
                b'{"model":"m","x":{"stream_options":{}}}',
                b'{"model":"m","x":{"stream_options":{}}',
                b"}",
            ),
        ):
            self.assertEqual(sent(body), before + _ADDED + behind, body)

    def test_with_options(self) -> None:
        """The member is added to the options or changed in them; no other byte changes."""
        for given, asking in (
            (b"{}", b'{"include_usage":true}'),
            (b"{ }", b'{ "include_usage":true}'),
            (b'{"x": 1.0 }', b'{"x": 1.0 ,"include_usage":true}'),
            (b'{"include_usage" :false, "x":1}', b'{"include_usage" :true, "x":1}'),
            (b'{"x":1,"include_usage": null }', b'{"x":1,"include_usage": true }'),
            (b'{"include_us\\u0061ge":false}', b'{"include_us\\u0061ge":true}'),
            (
                b'{"continuous_usage_stats":false}',
                b'{"continuous_usage_stats":false,"include_usage":true}',
            ),
            (b'{"x":{"include_usage":true}}', b'{"x":{"include_usage":true},"include_usage":true}'),
        ):
            for body in (
                b'{"model":"m","stream_options": %b ,"z":[1]}',
                b'{"stream_options":%b,"model":"m","z":[1]}',
                b'{"z":[1],"model":"m","stream_opt\\u0069ons":%b}',
                b'{"stream":null,"models":["m"],"stream_options":%b}',
            ):
                plain = parsed(body % given).template.naming("other/name")
                expected = plain.replace(given, asking)
                self.assertEqual(sent(body % given, "other/name"), expected, body % given)
                self.assertIs(json.loads(expected)["stream_options"]["include_usage"], True)

    def test_left_alone(self) -> None:
        """Requests that ask themselves, or that only the upstream can judge, stay the same."""
        for options in (
            b'"stream_options":{"include_usage":true}',
            b'"stream_options":{"include_usage":true,"continuous_usage_stats":true}',
            b'"stream_options":{"continuous_usage_stats":true}',
            b'"stream_options":{"include_usage":false,"continuous_usage_stats":true}',
            b'"stream_options":{"include_usage":1}',
            b'"stream_options":{"include_usage":"false"}',
            b'"stream_options":{"include_usage":false,"include_usage":false}',
            b'"stream_options":{},"stream_options":{}',
            b'"stream_options":{},"stream_opt\\u0069ons":{"include_usage":true}',
            b'"stream_options":[]',
            b'"stream_options":"include_usage"',
            b'"stream_options":true',
            b'"stream_options":1',
            b'"stream_options":{%b}' % b",".join(b'"%d":1' % each for each in range(5000)),
        ):
            for body in (b'{"model":"m",%b}' % options, b'{%b,"model":"m"}' % options):
                before = parsed(body)
                self.assertIs(ask_for_usage(before), before, options)
                self.assertFalse(before.template.asks_usage)

    def test_template(self) -> None:
        """Equal requests stay equal, the size is that of the bytes, and it says that it asks."""
        for body in (
            b'{"model":"abc","stream":true}',
            b'{"stream_options":{"include_usage":false},"model":"abc"}',
            b'{"model":"abc","stream_options":{}}',
        ):
            template = ask_for_usage(parsed(body)).template
            self.assertTrue(template.asks_usage)
            self.assertEqual(template.naming("n"), ask_for_usage(parsed(body)).template.naming("n"))
            self.assertEqual(template.size, len(template.naming("")) - len('""'), body)
            self.assertNotIn("abc", repr(template))

    def test_large(self) -> None:
        """A large body is not copied: its parts are views."""
        given: tuple[dict[str, object], ...] = ({}, {"stream_options": {}})
        for options in given:
            for at_end in (False, True):
                members = {"messages": "x" * 100_000, "n": 1}
                value = {**options, "model": "m", **members}
                body = json.dumps({**members, **value} if at_end else value).encode()
                before = parsed(body)
                asking = ask_for_usage(before)
                self.assertIs(asking.template.whole, before.template.whole)
                pieces = asking.template.pieces("n")
                views = [piece for piece in pieces if isinstance(piece, memoryview)]
                self.assertEqual(len(views), 3)
                joined = json.loads(b"".join(pieces))
                self.assertEqual(joined.pop("stream_options"), {"include_usage": True})
                self.assertEqual(joined, {"model": "n", **members})
