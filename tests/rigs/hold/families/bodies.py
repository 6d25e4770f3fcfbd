"""Request bodies that are dear to read, in several sizes."""

from __future__ import annotations

from dataclasses import dataclass

from tests.rigs.hold.input import KIB, MB, MIB, Input
from tests.rigs.hold.wire import CHAT, filled, post

_MESSAGE = b'"messages":[{"role":"user","content":"hello"}]'
_ALIAS = b'{"model":"chutesai/AutoPilot",'
_SMALL = 10 * KIB - 200
_LARGEST = 32 * MIB
_FEW = 10
"""Connections that send a small body at the same time, so that each one's memory shows."""


@dataclass(frozen=True, slots=True)
class Shape:
    """A body of any size: a beginning, a unit that is repeated, and an end."""

    name: str
    before: bytes
    unit: bytes
    after: bytes
    path: str = CHAT
    largest: bool = False
    """Whether it is sent in the largest permitted size and to an embedded router, too."""

    def of(self, size: int) -> bytes:
        """Return a request with a body of this size."""
        return post(filled(self.before, self.unit, self.after, size), self.path)


_END = b"," + _MESSAGE + b"}"
_CONTENT = b'"messages":[{"role":"user","content":"'
SHAPES = (
    Shape("honest text", _ALIAS + _CONTENT, b"word ", b'"}]}', largest=True),
    Shape(
        "empty content parts", _ALIAS + b'"messages":[{"type":"image"}', b",[]", b"]}", largest=True
    ),
    Shape("empty messages", _ALIAS + b'"messages":[{"role":"user","content":"x"}', b",{}", b"]}"),
    Shape(
        "text parts",
        _ALIAS + b'"messages":[{"role":"user","content":[{"type":"text","text":"x"}',
        b',{"type":"text","text":""}',
        b"]}]}",
    ),
    Shape(
        "image parts",
        _ALIAS + b'"messages":[{"role":"user","content":[{"type":"text","text":"x"}',
        b',{"type":"image_url"}',
        b"]}]}",
    ),
    Shape("messages of nothing", _ALIAS + b'"messages":[null', b",null", b"]}"),
    Shape(
        "half a surrogate, then text",
        _ALIAS + _CONTENT + b"\\ud800",
        b"word ",
        b'"}]}',
        largest=True,
    ),
    Shape("halves of surrogates", _ALIAS + _CONTENT, b"\\ud800", b'"}]}'),
    Shape("text, then half a surrogate", _ALIAS + _CONTENT, b"word ", b'\\ud800"}]}'),
    Shape("half a surrogate elsewhere", _ALIAS + b'"user":"\\ud800', b"w ", b'"' + _END),
    Shape("token prompt", _ALIAS + b'"prompt":[1', b",1", b"]}", "/v1/completions", True),
    Shape("token prompts", _ALIAS + b'"prompt":[[1]', b",[1]", b"]}", "/v1/completions"),
    Shape("text prompts", _ALIAS + b'"prompt":[""', b',""', b"]}", "/v1/completions"),
    Shape("commas in a text", _ALIAS + _CONTENT, b",", b'"}]}', largest=True),
    Shape("commas in a list", _ALIAS + b'"x":[0', b",0", b"]" + _END, largest=True),
    Shape("escapes", _ALIAS + _CONTENT, b"\\u0041", b'"}]}'),
    Shape("backslashes", _ALIAS + _CONTENT, b"\\\\", b'"}]}'),
    Shape("quotes", _ALIAS + _CONTENT, b'\\"', b'"}]}', largest=True),
    Shape("pictographs", _ALIAS + _CONTENT, "😀".encode(), b'"}]}'),
    Shape("blanks", _ALIAS, b" ", _MESSAGE + b"}"),
    Shape("lines", _ALIAS, b"\n", _MESSAGE + b"}"),
    Shape("lines, then a fault", _ALIAS, b"\n", b"]"),
    Shape("open brackets", _ALIAS + b'"x":', b"[", b""),
    Shape("open braces", _ALIAS + b'"x":', b'{"a":', b""),
    Shape("closed brackets", _ALIAS + b'"x":[[]', b",[[[[]]]]", b"]" + _END),
    Shape("objects", _ALIAS + b'"x":[{}', b',{"a":{}}', b"]" + _END),
    Shape("one long number", _ALIAS + b'"seed":1', b"1", _END),
    Shape("numbers without a limit", _ALIAS + b'"x":[1', b",1e999", b"]" + _END),
    Shape("members", _ALIAS, b'"a":1,', _MESSAGE + b"}"),
    Shape("model again and again", b"{" + _MESSAGE, b',"model":"a"', b"}"),
    Shape("models", b"{" + _MESSAGE + b',"models":["acme/one"', b',"a"', b"]}"),
    Shape("a model of many bytes", b"{" + _MESSAGE + b',"model":"', b"a", b'"}'),
    Shape("a model that is a list", b"{" + _MESSAGE + b',"model":[0', b",0", b"]}"),
    Shape("stop texts", _ALIAS + b'"stop":["a"', b',"a"', b"]" + _END),
    Shape("tools", _ALIAS + b'"tools":[{}', b',{"type":"function"}', b"]" + _END),
    Shape("response format", _ALIAS + b'"response_format":{"a":0', b',"a":0', b"}" + _END),
    Shape("cache key", _ALIAS + b'"prompt_cache_key":"', b"k", b'"' + _END),
    Shape("system blocks", _ALIAS + b'"system":[{}', b',{"text":""}', b"]" + _END, "/v1/messages"),
    Shape("input items", _ALIAS + b'"input":[{}', b',{"content":[]}', b"]}", "/v1/responses"),
    Shape("not closed", _ALIAS + _CONTENT, b"word ", b'"}]'),
    Shape("bad UTF-8 at the end", _ALIAS + _CONTENT, b"word ", b'\xff"}]}'),
    Shape("UTF-16", b"\xff\xfe{\x00", b" \x00", b"}\x00"),
    Shape("gzip without its label", b"\x1f\x8b\x08", b"\x00", b""),
)


def _inputs(shape: Shape) -> tuple[Input, ...]:
    sizes = [("10 KiB", _SMALL, _FEW), ("4 MB", 4 * MB, 1)]
    if shape.largest:
        sizes.append(("32 MiB", _LARGEST, 1))

    def one(label: str, size: int, connections: int, *setups: str) -> Input:
        return Input(
            family="bodies",
            name=f"{shape.name}, {label}",
            request=lambda: shape.of(size),
            connections=connections,
            answers=frozenset({200, 400}),
            memory=None if size < MB else 8 * size,
            setups=setups,
            seconds=60.0,
        )

    tls = ("TLS",) if shape.largest else ()
    own = [one(*size, "own", *(tls if size[1] == 4 * MB else ())) for size in sizes]
    return (*own, one("1 MB", MB, 1, "embedded")) if shape.largest else tuple(own)


INPUTS = tuple(each for shape in SHAPES for each in _inputs(shape))
