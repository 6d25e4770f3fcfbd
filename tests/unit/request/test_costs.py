"""What a body costs to read: memory and calls, whatever it holds.

Time is no measure for a test, but what costs time here is creating objects, which need memory, and
calling functions.
"""

from __future__ import annotations

import sys
import tracemalloc
from types import FrameType

from twisted.trial.unittest import SynchronousTestCase

from autopilot.request.body import ParsedBody, parse_body

_MIB = 1 << 20
_START = b'{"model":"auto",'
_MOST_CALLS = 200
_MOST_MEMORY = 3.1  # times the body
_IMAGE = b'"messages":[{"type":"image"},'


def _filled(start: bytes, unit: bytes, end: bytes, size: int) -> bytes:
    return start + unit * (size // len(unit)) + end


# The start, what is repeated, and the end of bodies that once were dear.
_SHAPES = {
    "lists among messages": (_IMAGE, b"[],", b"[]]}"),
    "objects among messages": (_IMAGE, b"{},", b"{}]}"),
    "numbers among messages": (_IMAGE, b"1,", b"1]}"),
    "texts among messages": (_IMAGE, b'"",', b'""]}'),
    "empty messages": (b'"messages":[', b'{"role":"user","content":"a b"},', b"{}]}"),
    "false parts": (b'"messages":[', b'{"content":[[{"type":"image"}]]},', b"{}]}"),
    "half a surrogate pair": (b'"x":"\\ud800",' + _IMAGE, b"[],", b"[]]}"),
    "halves of surrogate pairs": (b'"messages":[{"content":"', b"\\ud800", b'"}]}'),
    "an escaped letter": (b'"x":"\\u0061","messages":[{"content":[', b"{},", b"{}]}]}"),
    "tokens": (b'"prompt":[', b"1,", b"1]}"),
    "prompts": (b'"prompt":[', b'"",', b'""]}'),
    "prompts of tokens": (b'"prompt":[', b"[1],", b"[]]}"),
    "commas": (b'"messages":[{"role":"user","content":"', b", ", b'"}]}'),
    "words": (b'"messages":[{"role":"user","content":"', b"a ", b'"}]}'),
    "words on lines": (b'"prompt":"', b"a b c d \\n", b'"}'),
    "lines": (b'"prompt":"', b"a\\n", b'"}'),
    "parts": (b'"messages":[{"content":[{"type":"image_url"},', b"{},", b"{}]}]}"),
    "items of input": (b'"input":[{"content":[{"type":"input_image"}]},', b"[],", b"[]]}"),
    "nested lists": (b'"messages":', b"[", b""),
    "shallow lists": (b'"messages":[', b"[" * 300 + b"]" * 300 + b",", b"[]]}"),
    "a null and lists": (b'"stream":null,"messages":[', b"[],", b"[]]}"),
    "a second model": (b'"messages":[', b"[],", b'[]],"model":"b"}'),
    "models": (b'"models":[', b'"",', b'""]}'),
    "a number": (b'"n":', b"1", b"}"),
    "an exponent": (b'"n":1e', b"1", b"}"),
    "a limit": (b'"max_tokens":', b"1", b"}"),
    "a name of escapes": (b'"stream":null,"', b"\\n", b'":1}'),
    "a long name": (b'"stream":null,"', "\U0001f600".encode(), b'":1}'),
    "tools": (b'"tools":[', b"{},", b"{}]}"),
    "a schema": (b'"response_format":{"x":[', b"{},", b'{}],"type":"json_schema"}}'),
    "a format of lists": (b'"response_format":[', b"[],", b"[]]}"),
    "a schema with half a pair": (b'"response_format":{"x":"\\ud800","y":[', b"{},", b"{}]}}"),
    "options": (b'"stream_options":{"x":[', b"{},", b"{}]}}"),
    "wide characters": (b'"messages":[{"content":"', "a\U0001f600".encode(), b'"}]}'),
    "bad UTF-8": (b'"x":"\xe9', "\U0001f600".encode(), b'\xff"}'),
    "an end that is missing": (b'"x":[', b"[],", b""),
    "NaN": (b'"x":[', b"[],", b"NaN]}"),
    "NaN and half a pair": (b'"y":"\\ud800","x":[', b"[],", b"NaN]}"),
    "blanks": (b'"x":1', b" ", b"}"),
    "braces in a text": (b'"messages":[{"content":"', b"{} ", b'"}]}'),
}


class CostTests(SynchronousTestCase):
    """Every shape, in two sizes."""

    def test_calls(self) -> None:
        """The number of Python calls does not grow with the size."""
        for name, shape in _SHAPES.items():
            small, large = (_calls(_body(shape, size)) for size in (_MIB, 4 * _MIB))
            self.assertLess(large, _MOST_CALLS, name)
            self.assertLessEqual(large, small + 64, name)

    def test_memory(self) -> None:
        """Reading a body needs no more than a few copies of it at a time."""
        for name, shape in _SHAPES.items():
            for size in (_MIB, 4 * _MIB):
                body = _body(shape, size)
                self.assertLess(_peak(body), _MOST_MEMORY * len(body), name)

    def test_small(self) -> None:
        """A body of 10 KiB needs less than 1 MiB."""
        for name, shape in _SHAPES.items():
            self.assertLess(_peak(_body(shape, 10_240)), _MIB, name)

    def test_members(self) -> None:
        """Too many members are refused after the same number of calls, whatever their number."""
        for member in (b',"a":1', b',"model":"a"', b',"n":1', b',"a":[{}]', b',"a":"\\ud800"'):
            shape = (b'"x":1', member, b"}")
            small, large = (_calls(_body(shape, size)) for size in (_MIB, 4 * _MIB))
            self.assertEqual(small, large, member)
            self.assertLess(large, 50_000, member)
            self.assertLess(_peak(_body(shape, _MIB)), _MOST_MEMORY * _MIB, member)

    def test_each_member(self) -> None:
        """Members that are looked at one by one cost few calls each."""
        for member in (b',"model":"a"', b',"n":1', b' , "stream" : null'):
            body = _body((b'"x":1', member, b"}"), 9000)
            self.assertLess(_calls(body), 2 * body.count(b",") + 100, member)


def _body(shape: tuple[bytes, bytes, bytes], size: int) -> bytes:
    start, unit, end = shape
    return _filled(_START + start, unit, end, size)


def _look(body: bytes) -> None:
    """Ask everything that a request under the alias is asked."""
    parsed = parse_body(body)
    if isinstance(parsed, ParsedBody):
        parsed.needs(8000)
        assert parsed.choices


def _calls(body: bytes) -> int:
    calls = 0

    def count(frame: FrameType, event: str, argument: object) -> None:
        nonlocal calls
        calls += event == "call"

    before = sys.getprofile()
    sys.setprofile(count)
    try:
        _look(body)
    finally:
        sys.setprofile(before)
    return calls


def _peak(body: bytes) -> int:
    """Return the most memory that is in use while a body is read, beyond the body's own."""
    tracemalloc.start()
    try:
        _look(body)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
