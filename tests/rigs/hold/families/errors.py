"""Error bodies of an upstream, and plain answers that the router decides on."""

from __future__ import annotations

from dataclasses import dataclass

from tests.rigs.hold.input import KIB, MB, MIB, Input
from tests.rigs.hold.wire import JSON, MODELS, answered, chat, filled, post


@dataclass(frozen=True, slots=True)
class Shape:
    """A body of any size: a beginning, a unit that is repeated, and an end."""

    name: str
    before: bytes
    unit: bytes
    after: bytes


SHAPES = (
    Shape("a long detail", b'{"detail":"', b"word ", b'"}'),
    Shape("escapes in detail", b'{"detail":"', b"\\u0041", b'"}'),
    Shape("half surrogates in detail", b'{"detail":"', b"\\ud800", b'"}'),
    Shape("many messages", b'{"detail":[{"msg":"a"}', b',{"msg":""}', b"]}"),
    Shape("empty messages", b'{"detail":[{}', b",{}", b"]}"),
    Shape("nested detail", b'{"detail":', b"[", b""),
    Shape("nested objects", b'{"detail":', b'{"a":', b""),
    Shape("members before detail", b"{", b'"a":1,', b'"detail":"infrastructure"}'),
    Shape("details", b'{"detail":"x"', b',"detail":"x"', b"}"),
    Shape("blanks", b" ", b" ", b'{"detail":"x"}'),
    Shape("lists", b"[[]", b",[]", b"]"),
    Shape("numbers", b'{"detail":[1', b",1", b"]}"),
    Shape("one long number", b'{"detail":1', b"1", b"}"),
    Shape("a page", b"<html>", b"<p>", b"</html>"),
    Shape("context words", b'{"detail":"', b"context length exceeded ", b'"}'),
)
OTHER_STATUSES = (400, 429, 404, 403, 503)


def _start(status: int) -> bytes:
    return JSON.replace(b"200 OK", b"%d No" % status)


def _inputs(shape: Shape) -> tuple[Input, ...]:
    def one(status: int, label: str, size: int) -> Input:
        def response() -> bytes:
            body = filled(shape.before, shape.unit, shape.after, size)
            return answered(body, _start(status))

        return Input(
            family="errors",
            name=f"{status} with {shape.name}, {label}",
            request=lambda: post(chat(",".join(MODELS[:2]))),
            response=response,
            answers=frozenset({200, status, 502}),
            memory=16 * MIB,
        )

    at = SHAPES.index(shape)
    return (
        one(500, "60 KiB", 60 * KIB),
        one(OTHER_STATUSES[at % len(OTHER_STATUSES)], "60 KiB", 60 * KIB),
        one(500, "4 MB", 4 * MB),
        one(200, "1 MB", MB),
    )


INPUTS = tuple(each for shape in SHAPES for each in _inputs(shape))
