"""The members that the router looks at, found without reading member by member."""

from __future__ import annotations

import json

from twisted.trial.unittest import SynchronousTestCase

from autopilot.request.json_fast import BodyFields, FastScan, scan_fast
from autopilot.request.json_scan import MAX_MEMBERS


class ScanFastTests(SynchronousTestCase):
    """What is seen at a glance, and what needs a closer look."""

    def scanned(self, body: bytes) -> FastScan:
        """A glance that must be enough."""
        found = scan_fast(body)
        assert found is not None, body
        return found

    def test_enough(self) -> None:
        """Usual bodies need no closer look, wherever the model stands and however it is spaced."""
        for body in (
            b'{"model":"m"}',
            b' { "model" :\t"m" , "stream": true } ',
            b'{"messages":[{"role":"user","content":"x"}],"model":"m","stream":true}',
            b'{"model":"m","messages":[{"content":"\\"model\\": \\"x\\" null"}],"stream":false}',
            b'{"prompt":"a model","model":"m","stream_options":{"include_usage":true}}',
            b'{"input":[{"model":"x"}],"model":"m"}',
            b'{"input":[{"models":["x"]}],"model":"m"}',
            b'{"messages":[{"stream":null,"model":1}],"model":"m","stream":true}',
            '{"messages":["\\u006dodel", "é"],"model":"m"}'.encode(),
        ):
            found = self.scanned(body)
            self.assertEqual(body[found.start : found.end], b'"m"', body)
            self.assertEqual(bytes(found.fields.model), b'"m"')

    def test_a_closer_look(self) -> None:
        """Whatever is bad, doubtful or must lose members is not decided here."""
        for body in (
            b"",
            b"[]",
            b"{}",
            b'{"model":"m"',
            b'{"model":"\xff"}',
            b'{"x":"\xff","model":"m"}',
            b'{"x":{"model":"m"}}',
            b'{"Model":"m"}',
            b'{"mod\\u0065l":"m"}',
            b'{"x":{"model":"n"},"mod\\u0065l":"m"}',
            b'{"model":"n","model":"m"}',
            b'{"mod\\u0065l":"n","model":"m"}',
            b'{"model":"m","mod\\u0065l":"n"}',
            b'{"model":"m","stream":null}',
            b'{"model":"m","models":null}',
            b'{"models":["n"],"model":"m"}',
            b'{"model":"m","mod\\u0065ls":[]}',
            b'{"model":"m","stream_options":null}',
            b'{"stream":null,"model":"m","stream":true}',
            b'{"stre\\u0061m":null,"model":"m","stream":true}',
            b'{"stream":true,"model":"m","stre\\u0061m":false}',
            b'{"model":"m","x":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
        ):
            self.assertIsNone(scan_fast(body), body)

    def test_half_of_a_surrogate_pair(self) -> None:
        """It is not a reason for a closer look: other escapes stand for it, but in the model."""
        for value in (b'"\\ud800"', b'["\\uDfFf\\\\ud800",{"\\ud83d":"\\ud83d\\ude00"}]'):
            body = b'{"model":"m","messages":%b}' % value
            self.assertEqual(bytes(self.scanned(body).fields.model), b'"m"')
            self.assertEqual(len(self.scanned(body).fields.messages), len(value))
        body = b'{"x":"\\ud800","model":"\\ud83d\\ude00"}'
        self.assertEqual(bytes(self.scanned(body).fields.model), b'"\\ud83d\\ude00"')
        self.assertIsNone(scan_fast(b'{"model":"m","x":"\\ud80g"}'))
        self.assertIsNone(scan_fast(b'{"\\ud06dodel":"m"}'))

    def test_room_for_too_many_members(self) -> None:
        """A large body is scanned fast only if few colons are outside of its few large values."""
        text = "x:" * MAX_MEMBERS * 5
        for key in ("messages", "prompt", "input", "tools"):
            body = json.dumps({key: text, "model": "m"}).encode()
            self.assertEqual(bytes(self.scanned(body).fields.model), b'"m"')
        self.assertIsNone(scan_fast(json.dumps({"x": text, "model": "m"}).encode()))
        few = {"x": text.replace(":", "x"), "model": "m"}
        self.assertEqual(bytes(self.scanned(json.dumps(few).encode()).fields.model), b'"m"')
        self.assertIsNone(scan_fast(b'{"model":"m"' + b',"":1' * MAX_MEMBERS + b"}"))
        most = b'{"model":"m"' + b',"":1' * (MAX_MEMBERS - 3) + b"}"
        self.assertEqual(bytes(self.scanned(most).fields.model), b'"m"')

    def test_only_a_scan_fast(self) -> None:
        """Values the router has no interest in are not seen, and none is shown."""
        found = self.scanned(b'{"model":"m","user":"secret","max_tokens":5}')
        self.assertEqual(bytes(found.fields.max_tokens), b"5")
        self.assertNotIn("secret", repr(found))
        self.assertEqual(repr(BodyFields.of({"model": b'"secret"', "x": b"1"})), "BodyFields()")
