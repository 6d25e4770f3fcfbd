"""Tests of the ``error`` member that the platform's errors get (contract §7)."""

from __future__ import annotations

import gzip
import json

from twisted.trial.unittest import SynchronousTestCase

from autopilot.http.dialect import Dialect
from autopilot.http.response_parser import ResponseHead
from autopilot.relay.error_shape import MAX_SHAPED_BYTES, may_lack_error, with_error

_OPENAI = b'"error":{"type":"%b","message":"%b","param":null,"code":null}'


def shaped(body: bytes, status: int = 400, dialect: Dialect = Dialect.COMPLETIONS) -> bytes:
    """Return the body of an error as the client receives it."""
    return with_error(body, status, dialect)


def member(message: str, kind: str = "invalid_request_error") -> bytes:
    """Return the inserted member."""
    return _OPENAI % (kind.encode(), message.encode())


class MemberTests(SynchronousTestCase):
    """What is inserted, and where."""

    def test_text(self) -> None:
        """A text is the message; the status is the type."""
        body = b'{"detail":"Invalid token."}'
        for status, kind in (
            (400, "invalid_request_error"),
            (401, "authentication_error"),
            (402, "invalid_request_error"),
            (403, "invalid_request_error"),
            (404, "invalid_request_error"),
            (429, "rate_limit_error"),
            (500, "server_error"),
            (503, "server_error"),
        ):
            for dialect in (Dialect.COMPLETIONS, Dialect.RESPONSES):
                expected = b'{"detail":"Invalid token.",' + member("Invalid token.", kind) + b"}"
                self.assertEqual(shaped(body, status, dialect), expected)

    def test_anthropic(self) -> None:
        """On the messages endpoint the type is Anthropic's; the member comes alone."""
        for status, kind in (
            (401, "authentication_error"),
            (403, "permission_error"),
            (404, "not_found_error"),
            (422, "invalid_request_error"),
            (429, "rate_limit_error"),
            (500, "api_error"),
            (503, "overloaded_error"),
        ):
            expected = b'{"detail":"why",' + member("why", kind) + b"}"
            self.assertEqual(shaped(b'{"detail":"why"}', status, Dialect.MESSAGES), expected)

    def test_object(self) -> None:
        """Of an object the message counts: a quota's, or an engine's."""
        for detail in (
            b'{"message":"no money","quota_reset_timestamp":"2026-02-19T00:00:00+00:00"}',
            b'{"object":"error","message":"no money","type":"X","param":null,"code":503}',
        ):
            expected = b'{"detail":%b,%b}' % (detail, member("no money"))
            self.assertEqual(shaped(b'{"detail":%b}' % detail), expected)

    def test_validation_errors(self) -> None:
        """The messages of a list are joined; what has none is left out."""
        detail = (
            b'[{"type":"missing","loc":["body","messages"],"msg":"Field required","input":{}},'
            b'7,{"loc":[]},{"msg":1},{"msg":"Too many"}]'
        )
        expected = b'{"detail":%b,%b}' % (detail, member("Field required; Too many"))
        self.assertEqual(shaped(b'{"detail":%b}' % detail), expected)

    def test_place(self) -> None:
        """The member follows the last one; blanks around and behind the object stay."""
        body = b' \n{ "detail" : "why" , "at": 1.0\r\n}\n\n'
        expected = b' \n{ "detail" : "why" , "at": 1.0,' + member("why") + b"\r\n}\n\n"
        self.assertEqual(shaped(body), expected)

    def test_words(self) -> None:
        """Escapes and letters outside of ASCII arrive as the same words."""
        for words in ('say "no"\nto \\', "é \U0001f600", "\x7f\u2028"):
            for ascii_only in (False, True):
                body = json.dumps({"detail": words}, ensure_ascii=ascii_only).encode()
                self.assertEqual(json.loads(shaped(body))["error"]["message"], words)

    def test_equal_keys(self) -> None:
        """The last of equal keys counts, as for parsers."""
        body = b'{"detail":"first","detail":"last"}'
        self.assertEqual(shaped(body), body[:-1] + b"," + member("last") + b"}")

    def test_numbers(self) -> None:
        """Numbers that some parsers cannot read are no obstacle."""
        body = b'{"detail":"why","limit":1e400,"big":%b}' % (b"9" * 5000)
        self.assertEqual(shaped(body), body[:-1] + b"," + member("why") + b"}")


class AsItCameTests(SynchronousTestCase):
    """What stays as it came."""

    def assert_untouched(self, *bodies: bytes) -> None:
        """Assert that the client receives these bytes."""
        for body in bodies:
            for dialect in Dialect:
                self.assertIs(shaped(body, 500, dialect), body)

    def test_own_error(self) -> None:
        """An error of its own, even an empty one, and under an escaped name."""
        self.assert_untouched(
            b'{"error":{"message":"busy"}}',
            b'{"detail":"why","error":null}',
            b'{"error":"no","detail":"why"}',
            b'{"detail":"why","\\u0065rror":""}',
        )

    def test_nothing_said(self) -> None:
        """No detail at the top, or one without words."""
        self.assert_untouched(
            b"{}",
            b'{"message":"why"}',
            b'{"a":{"detail":"why"}}',
            b'{"detail":null}',
            b'{"detail":7}',
            b'{"detail":""}',
            b'{"detail":" \\n"}',
            b'{"detail":{}}',
            b'{"detail":{"message":["why"]}}',
            b'{"detail":{"error":{"message":"why"}}}',
            b'{"detail":[]}',
            b'{"detail":["why"]}',
            b'{"detail":[{"loc":["body"]}]}',
            b'{"detail":"why","detail":null}',
        )

    def test_no_object(self) -> None:
        """Other JSON, and what is none."""
        self.assert_untouched(
            b"",
            b"null",
            b'"why"',
            b'[{"detail":"why"}]',
            b"<html>502</html>",
            b'{"detail":"why"',
            b'{"detail":"why",}',
            b'{"detail":"why"}}',
            b'{"detail":"why"} {"a":1}',
            b"{'detail':'why'}",
            b'{"detail":"why","a":NaN}',
            b'{"detail":"why","a":[Infinity]}',
            b'{"detail":"why","a":01}',
            b'{"detail":"wh\xff"}',
            b'{"detail":"why","a":"\xc3"}',
            b'\xef\xbb\xbf{"detail":"why"}',
            '{"detail":"why"}'.encode("utf-16"),
            b'{"detail":"why","a":' + b"[" * 30_000 + b"]" * 30_000 + b"}",
            gzip.compress(b'{"detail":"why"}'),
        )

    def test_half_of_a_pair(self) -> None:
        """Words that UTF-8 cannot hold."""
        self.assert_untouched(b'{"detail":"\\ud800"}')

    def test_size(self) -> None:
        """Only a body of more than 64 KiB is too large."""
        for size, changed in ((MAX_SHAPED_BYTES, True), (MAX_SHAPED_BYTES + 1, False)):
            body = b'{"detail":"why"' + b" " * (size - 16) + b"}"
            self.assertEqual(len(body), size)
            self.assertEqual(shaped(body) != body, changed)


class WaitingTests(SynchronousTestCase):
    """Whether the rest of a body is waited for."""

    def assert_may(
        self,
        expected: bool,
        *,
        status: int = 400,
        kind: str = "application/json",
        coded: bool = False,
        length: int | None = None,
        begun: bytes = b"",
    ) -> None:
        """Assert whether such a body might get the member."""
        head = ResponseHead(status, b"No", [], kind, length, coded)
        self.assertEqual(may_lack_error(head, begun, len(begun)), expected)

    def test_errors_in_json(self) -> None:
        """Every error in JSON, before its body, and once it looks like an object."""
        for begun in (b"", b" \n", b"{", b' {"detail":"wh'):
            self.assert_may(True, begun=begun)
        for kind in ("application/problem+json", "text/json"):
            self.assert_may(True, kind=kind)
        self.assert_may(True, status=599, length=MAX_SHAPED_BYTES)

    def test_other_bodies(self) -> None:
        """No error, no JSON, no object, or too large."""
        for status in (200, 204, 302, 399):
            self.assert_may(False, status=status)
        for kind in ("", "text/html", "text/plain", "text/event-stream"):
            self.assert_may(False, kind=kind)
        for begun in (b"[", b" <html>", b"\x1f\x8b\x08", b"\x28\xb5\x2f\xfd", b"\xef\xbb\xbf{"):
            self.assert_may(False, begun=begun)
        self.assert_may(False, length=MAX_SHAPED_BYTES + 1)
        self.assert_may(False, begun=b"{" + b" " * MAX_SHAPED_BYTES)

    def test_coded(self) -> None:
        """A coded body is opaque."""
        self.assert_may(False, coded=True)
