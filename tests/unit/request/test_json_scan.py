"""The top-level members of a JSON object by their place."""

from __future__ import annotations

import json
from unittest.mock import patch

from twisted.trial.unittest import SynchronousTestCase

import autopilot.request.json_scan as members_module
from autopilot.request.json_fast import scan_fast
from autopilot.request.json_scan import (
    MAX_MEMBERS,
    InvalidJSONError,
    NotAnObjectError,
    TooManyMembersError,
    begins_with_a_crowd,
    members,
)


def _pairs(body: bytes) -> list[tuple[str, bytes]]:
    return [(member.key, body[member.value : member.end]) for member in members(body)]


class PlaceTests(SynchronousTestCase):
    """Where members lie."""

    def test_plain(self) -> None:
        """Keys and values are found with their exact bytes, whatever the blanks."""
        body = b' {\t"a" : 1.0 ,\r\n"b":{"c":[1,2]}, "d" :"x"} \n'
        self.assertEqual(_pairs(body), [("a", b"1.0"), ("b", b'{"c":[1,2]}'), ("d", b'"x"')])

    def test_start(self) -> None:
        """A member starts at its key's quotation mark."""
        body = b'{ "a":1, "b":2}'
        self.assertEqual([body[m.start : m.start + 3] for m in members(body)], [b'"a"', b'"b"'])

    def test_empty(self) -> None:
        """An object without members has none."""
        self.assertEqual(members(b"{ }"), [])

    def test_duplicates(self) -> None:
        """Each of several members with one key is found, also where one value begins another."""
        for body in (
            b'{"a":1,"a":12}',
            b'{"a":12,"a":1}',
            b'{"a":"1","a":"12","a":[1],"a":-1e5,"a":-1}',
            b'{"a":1,"\\u0061":2}',
        ):
            found = _pairs(body)
            self.assertEqual({key for key, _ in found}, {"a"})
            self.assertEqual(len(found), body.count(b":"))
            for _, value in found:
                self.assertIn(value, body)
        self.assertEqual(_pairs(b'{"a":1,"a":12}'), [("a", b"1"), ("a", b"12")])
        self.assertEqual(_pairs(b'{"a":12,"a":1}'), [("a", b"12"), ("a", b"1")])

    def test_numbers_no_float_holds(self) -> None:
        """Numbers are bytes: none is too long, too large or too exact."""
        digits = b"9" * 5000
        body = b'{"n":' + digits + b',"n":1e400,"m":-0.10}'
        self.assertEqual(_pairs(body), [("n", digits), ("n", b"1e400"), ("m", b"-0.10")])

    def test_lone_surrogate(self) -> None:
        """An escaped lone surrogate is legal JSON, in a value and in a key."""
        body = b'{"a":"\\ud800","\\udfff":1}'
        self.assertEqual(_pairs(body), [("a", b'"\\ud800"'), ("\udfff", b"1")])

    def test_commas(self) -> None:
        """A member knows the comma before it; the first begins with itself."""
        body = b'{ "a":1 , "b":2,"a":3}'
        self.assertEqual(
            [body[m.comma : m.end] for m in members(body)][1:], [b', "b":2', b',"a":3']
        )
        self.assertEqual(members(body)[0].comma, members(body)[0].start)

    def test_long_key(self) -> None:
        """A key of more than 1 KiB is a member's, but nothing looks for it: it is not decoded."""
        for key in (b"x\\n" * 500_000, b"x" * 500_000, b"x" * 1024, "é".encode() * 512):
            (found,) = members(b'{"' + key + b'" : 1}')
            self.assertEqual((found.key, found.end - found.value), ("", 1))
        for key in (b"x\\n" * 340, b"x" * 1023):
            self.assertEqual(members(b'{"' + key + b'":1}')[0].key, json.loads(b'"%b"' % key))

    def test_repeated_beside_a_large_one(self) -> None:
        """Repeating a key of a large member does not cost that member's size each time."""
        large = b'"' + b"x" * 8_000_000 + b'"'
        body = b"{" + b'"a":1,' * (MAX_MEMBERS - 1) + b'"a":' + large + b"}"
        self.assertEqual(members(body)[-1].end, len(body) - 1)


class RefusalTests(SynchronousTestCase):
    """What is not a JSON object."""

    def test_invalid(self) -> None:
        """Whatever RFC 8259 does not allow is refused, wherever it stands."""
        for body in (
            b"",
            b" ",
            b"{",
            b'{"a"',
            b'{"a":',
            b'{"a":1',
            b'{"a":1,',
            b'{"a":1,}',
            b'{"a":1 "b":2}',
            b"{,}",
            b"{1:2}",
            b"{'a':1}",
            b'{"a":NaN}',
            b'{"a":Infinity}',
            b'{"a":-Infinity}',
            b'{"a":[NaN],"b":"\\ud800"}',
            b'{"a":01}',
            b'{"a":1.}',
            b'{"a":.5}',
            b'{"a":+1}',
            b'{"a":"\n"}',
            b'{"a\n":1}',
            b'{"a\n":"\\ud800"}',
            b'{"\\q":"\\ud800"}',
            b"[1,",
            b"[1,]",
            b"12x",
            b'"abc',
            b"nul",
            b'{"a":"\\x"}',
            b'{"a":"\\u12"}',
            b'{"\\x":1}',
            b'{"a":tru}',
            b'{"a":1} x',
            b'{"a":1}{}',
            b"[1] x",
            b"nonsense",
            b'\xef\xbb\xbf{"a":1}',
            b'{"a":"\xff"}',
            '{"a":1}'.encode("utf-16"),
            b'{"a":"\\ud800"} x',
            b'{"a":"\\ud800",}',
            b'{"a":"\\ud800" "b":1}',
            b'{"a":"\\ud800",1:2}',
            b'{"a":1,"a":1x}',
        ):
            with self.assertRaises(InvalidJSONError, msg=repr(body)):
                members(body)

    def test_nested_too_deeply(self) -> None:
        """Nesting that exhausts a parser is bad input, not a crash."""
        for opening, closing in ((b"[", b"]"), (b'{"a":', b"}")):
            body = b'{"x":' + opening * 100_000 + b"1" + closing * 100_000 + b"}"
            with self.assertRaises(InvalidJSONError):
                members(body)
        with self.assertRaises(InvalidJSONError):
            members(b'{"s":"\\ud800","x":' + b"[" * 100_000 + b"]" * 100_000 + b"}")

    def test_not_an_object(self) -> None:
        """JSON other than an object has an error of its own."""
        for body in (b"[]", b'"x"', b"1", b"null", b"true", b' ["\\ud800"] ', b'"\\ud800"'):
            with self.assertRaises(NotAnObjectError, msg=repr(body)):
                members(body)

    def test_too_many(self) -> None:
        """More members than any API has are refused before they are looked at."""
        pairs = [b'"%d":%d' % (number, number) for number in range(MAX_MEMBERS + 1)]
        self.assertEqual(len(members(b"{" + b",".join(pairs[1:]) + b"}")), MAX_MEMBERS)
        with self.assertRaises(TooManyMembersError):
            members(b"{" + b",".join(pairs) + b"}")

    def test_too_many_are_refused_early(self) -> None:
        """Of millions of members only the first are read, whatever follows."""
        for member, measured in (
            (b'"a":1', 0),
            (b'"a":{"b":[]}', MAX_MEMBERS + 1),
            (b'"a":"\\ud800"', MAX_MEMBERS + 2),
        ):
            body = b"{" + (member + b",") * 1_000_000 + b"nonsense"
            with patch.object(members_module, "_RAW", wraps=members_module._RAW) as decoder:
                self.assertRaises(TooManyMembersError, members, body)
            self.assertEqual(decoder.decode.call_count, measured)

    def test_a_crowd(self) -> None:
        """Too many short members are known by the start of the body; no more than it says."""
        for member in (
            b'"":1',
            b' "a" : "x" ',
            b'"a":-1.5e+3',
            b'"n":null',
            b'"s":"%b"' % (b"y" * 256),
        ):
            crowd = (member + b",") * MAX_MEMBERS
            self.assertFalse(begins_with_a_crowd(b"{" + crowd + member + b"}"), member)
            self.assertTrue(begins_with_a_crowd(b" {" + crowd + member + b",nonsense"), member)
            self.assertRaises(TooManyMembersError, members, b"{" + crowd + member + b',"a":2}')
            self.assertIsNone(scan_fast(b'{"model":"m",' + crowd + member + b"}"))
        for member in (
            b'"a":01',
            b'"a":+1',
            b"'a':1",
            b'"a\n":1',
            b'"a":"\n"',
            b'"a":{}',
            b'"a" 1',
        ):
            body = b"{" + (member + b",") * 5000
            self.assertFalse(begins_with_a_crowd(body), member)

    def test_many_colons_are_not_many_members(self) -> None:
        """A large body is not refused for what its values hold, also where they are cut."""
        value = b"[" + b'{"a":1},' * 100_000 + b"1]"
        for body in (
            b'{"x":' + value + b"}",
            b'{"x":"' + b":" * 500_000 + b'"}',
            b'{"x":' + b'{"a":' * 400 + b"1" + b"}" * 400 + b',"y":' + value + b"}",
            b'{"' + "é:".encode() * 200_000 + b'":1}',
            b'{"a' + "é:".encode() * 200_000 + b'":1}',
        ):
            self.assertEqual(members(body)[-1].end, len(body) - 1)
        with self.assertRaises(NotAnObjectError):
            members(value)
        with self.assertRaises(InvalidJSONError):
            members(b'"' + b":" * 5000 + b'"' + b" " * 300_000 + b"x")
        with self.assertRaises(InvalidJSONError):
            members(b'{"\xff":"' + b":" * 500_000 + b'"}')

    def test_says_nothing_of_the_text(self) -> None:
        """The reason never quotes the body."""
        for body in (b'{"secret":NaN}', b'{"secret', b'{"secret":1} secret', b"secret"):
            with self.assertRaises(InvalidJSONError) as caught:
                members(body)
            self.assertNotIn("secret", str(caught.exception))
