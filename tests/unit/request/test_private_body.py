"""Tests of the body of a private request: what is refused, and what is applied."""

from __future__ import annotations

import json
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from autopilot.request.body import LARGE, ParsedBody, parse_body
from autopilot.request.private_body import SealableBody, sealable
from autopilot.routing.router_error import RouterError

BOTH = {"thinking": True, "enable_thinking": True}


def read(body: bytes, *, thinking: bool = False) -> ParsedBody | RouterError:
    """Return what can be sealed of a body that is valid in itself."""
    parsed = parse_body(body)
    assert isinstance(parsed, ParsedBody), parsed
    return sealable(parsed, body, thinking=thinking)


class RefusedTests(SynchronousTestCase):
    """Bodies that an instance would take for something else."""

    def refused(self, body: bytes, param: str, remedy: str) -> None:
        """The error says which member, and what to do."""
        found = read(body)
        assert isinstance(found, RouterError), body
        self.assertEqual((found.status, found.code), (400, "private_unsupported"))
        self.assertEqual(found.param, param)
        self.assertIn(remedy, found.message)
        self.assertIn("Nothing was sent", found.message)

    def kept(self, body: bytes) -> None:
        """The body is sent as it is."""
        found = read(body)
        assert isinstance(found, ParsedBody), body
        self.assertEqual(json.loads(found.template.naming("m")), json.loads(body))

    def test_response_key(self) -> None:
        """It is refused in every spelling, with any value, once or twice; nested it is no key."""
        for member in (
            b'"e2e_response_pk":"AA"',
            b'"e2e_response_pk":null',
            b'"e2e_response_p\\u006b" : "AA"',
            b'"\\u0065\\u0032e_response_pk":0',
            b'"e2e_response_pk":1,"e2e_response_pk":2',
            b'"x":"\\ud800","e2e_response_pk":"AA"',
            b'"stream":null,"e2e_response_pk":"\\udfff"',
        ):
            for body in (b'{"model":"m",%b}' % member, b'{%b,"model":"m"}' % member):
                self.refused(body, "e2e_response_pk", "Leave it out")
        for value in (b'{"e2e_response_pk":1}', b'["e2e_response_pk"]', b'"e2e_response_pk"'):
            self.kept(b'{"model":"m","x":%b}' % value)
        self.kept(b'{"model":"m","E2E_response_pk":1}')

    def test_stream(self) -> None:
        """It is a boolean or null; of several equal members the last one counts, as over there."""
        for value in (b'"false"', b'"true"', b"0", b"1", b"[]", b"{}", b'""', b'"\\u0074rue"'):
            self.refused(b'{"model":"m","stream":%b}' % value, "stream", "Send a boolean")
            body = b'{"stream":true,"model":"m","stream" : %b}' % value
            self.refused(body, "stream", "Send a boolean")
            self.kept(b'{"stream":%b,"model":"m","stream":false}' % value)
        for streams, value in ((True, b"true"), (False, b"false")):
            body = b'{"model":"m","stream":%b}' % value
            self.kept(body)
            found = read(body)
            assert isinstance(found, ParsedBody)
            self.assertIs(found.stream, streams)
        found = read(b'{"model":"m","stream":null}')
        assert isinstance(found, ParsedBody)
        self.assertEqual(found.template.naming("m"), b'{"model":"m"}')

    def test_links(self) -> None:
        """What would be fetched is refused, whatever it is; data: URIs are kept."""
        for remote in ("https://a.test/i.png", "HTTP://a", "//a", "file:///etc/passwd", "data", ""):
            for part in (
                {"type": "image_url", "image_url": {"url": remote}},
                {"image_url": remote},
                {"type": "video_url", "video_url": {"url": remote}},
                {"type": "audio_url", "audio_url": {"url": remote, "x": 1}},
                {"type": "tool_result", "content": [{"image_url": {"url": remote}}]},
            ):
                for content in (
                    [part],
                    [{"type": "text", "text": "a"}, part],
                    ["text", None, part],
                ):
                    self.refused(self.message(content), "messages", "data: URI")
        escaped = b'{"model":"m","messages":[{"content":[{"image\\u005furl":"http:\\/\\/a"}]}]}'
        self.refused(escaped, "messages", "data: URI")
        for inline in ("data:image/png;base64,AA", " DATA:,x", "data:" + "A" * 100_000):
            self.kept(self.message([{"type": "image_url", "image_url": {"url": inline}}]))
        self.kept(b'{"model":"m","messages":[{"content":[{"image_url":"data:image\\/png;,A"}]}]}')

    def test_no_links(self) -> None:
        """Text about links, arguments of tools, and what is malformed are for the engine."""
        for content in (
            'look at "image_url": "http://a"',
            [{"type": "text", "text": '{"image_url":"http://a"}'}],
            [{"image_url": None}, {"image_url": 5}, {"image_url": {"uri": "http://a"}}],
            [{"image_url": {"url": {"url": "http://a"}}}, {"image_url": {"url": None}}],
            [1, {"image_url": "http://a"}],
            {"image_url": "http://a"},
        ):
            self.kept(self.message(content))
        self.kept(b'{"model":"m","messages":{"image_url":"http://a"}}')
        self.kept(b'{"model":"m","tools":[{"image_url":"http://a"}]}')

    def message(self, content: Any) -> bytes:
        """Return a body with a message."""
        return json.dumps(
            {"model": "m", "messages": [{"role": "user", "content": content}]}
        ).encode()


class ThinkingTests(SynchronousTestCase):
    """The suffix of a model and the header field that turn on thinking."""

    def sent(self, body: bytes, model: str = "m:THINKING", *, thinking: bool = False) -> Any:
        """Return what the engine gets, and check that nothing else has changed."""
        found = read(body, thinking=thinking)
        assert isinstance(found, ParsedBody)
        self.assertIsInstance(found.template, SealableBody)
        text = found.template.naming(model)
        self.assertEqual(text, b"".join(found.template.pieces(model)))
        value = json.loads(text)
        self.assertEqual(value.pop("model"), "m")
        return value

    def test_arguments(self) -> None:
        """Both switches are on, and the caller's other arguments stay with their bytes."""
        for given, expected in (
            (b"", BOTH),
            (b',"chat_template_kwargs":null', BOTH),
            (b',"chat_template_kwargs" : { } ', BOTH),
            (b',"chat_template_kwargs":{"thinking":false}', BOTH),
            (b',"chat_template_kwargs":{"enable_thinking":0,"thinking":{"a":[1]}}', BOTH),
            (
                b',"chat_template_kwargs":{"a":{"thinking":false}}',
                {"a": {"thinking": False}, **BOTH},
            ),
            (b',"chat_template_kwargs":1,"chat_template_kwarg\\u0073":{"thinking":null}', BOTH),
            (b',"chat_template_kwargs":{"thinking":1,"thinking":2}', BOTH),
        ):
            for body in (b'{"model":"x"%b}' % given, b'{"z":1%b,"model":"x"} \n' % given):
                value = self.sent(body)
                value.pop("z", None)
                self.assertEqual(value, {"chat_template_kwargs": expected}, body)
        found = read(b'{"model":"x","chat_template_kwargs":{"budget":1e400,"thinking":false}}')
        assert isinstance(found, ParsedBody)
        self.assertEqual(
            found.template.naming("m:THINKING"),
            b'{"model":"m","chat_template_kwargs":{"budget":1e400,"thinking":true,'
            b'"enable_thinking":true}}',
        )

    def test_malformed(self) -> None:
        """Arguments that are none are for the engine to judge."""
        for value in ("1", '"a"', "[]", "true"):
            body = b'{"model":"x","chat_template_kwargs":%b}' % value.encode()
            self.assertEqual(self.sent(body), {"chat_template_kwargs": json.loads(value)})

    def test_off(self) -> None:
        """Nothing is added to what does not ask for it."""
        body = b'{"model":"x","a":1}'
        self.assertEqual(self.sent(body, "m"), {"a": 1})
        found = read(body)
        assert isinstance(found, ParsedBody)
        self.assertEqual(found.template.naming("m"), b'{"model":"m","a":1}')

    def test_header(self) -> None:
        """The header field turns it on for whatever model."""
        self.assertEqual(
            self.sent(b'{"model":"x"}', "m", thinking=True)["chat_template_kwargs"], BOTH
        )

    def test_large(self) -> None:
        """A large body is not copied unless it changes."""
        body = b'{"model":"x","a":"%b"}' % (b"a" * LARGE)
        self.assertEqual(len(self.sent(body)["a"]), LARGE)
        found = read(body)
        assert isinstance(found, ParsedBody)
        self.assertIsInstance(found.template.pieces("m")[0], memoryview)

    def test_surrogates(self) -> None:
        """Half of a surrogate pair elsewhere is kept."""
        value = self.sent(b'{"model":"x","a":"\\ud800"}')
        self.assertEqual(value, {"a": "\ud800", "chat_template_kwargs": BOTH})
