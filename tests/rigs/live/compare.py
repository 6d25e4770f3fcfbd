"""Compares the platform's response with the stub's, both already redacted."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from tests.rigs.live.events import COMMENT, DONE, Stream
from tests.rigs.live.observe import Observation
from tests.rigs.live.skeleton import Facts, Skeleton, merged

# Headers of the connection, of proxies on the path, or of the stub itself.
NOT_COMPARED = frozenset({
    "age", "alt-svc", "connection", "content-encoding", "content-length", "date", "keep-alive",
    "server", "strict-transport-security", "transfer-encoding", "vary", "via",
    "x-stub-body-sha256", "x-stub-model", "x-request-id",
})  # fmt: skip
# A model may generate content or reasoning first; some send the role in an event of its own.
BY_CHANCE = frozenset({"content", "reasoning", "tool call", "empty", COMMENT})
TEXTS = frozenset({"detail", "error", "message", "msg", "object"})
MEMBER_PATHS = "body"


@dataclass(frozen=True, slots=True)
class Delta:
    """One difference: its place, the stub's value, and the platform's."""

    field: str
    stub: str
    seen: str


def compare(seen: Observation, expected: Sequence[Observation]) -> list[Delta]:
    """Return the differences between a response and the stub's possible responses."""
    first = expected[0]
    found = list(_heads(seen, first))
    if (seen.status < 400) != (first.status < 400):
        return [each for each in found if each.seen != "absent"] + list(_said_instead(seen))
    if seen.body != first.body:
        found.append(Delta("body", first.body, seen.body))
    else:
        found += _texts(seen.text, first.text)
        found += shape_deltas("body", seen.skeleton, merged(e.skeleton for e in expected))
        streams = [each.stream for each in expected if each.stream is not None]
        if seen.stream is not None and streams:
            found += _streams(seen.stream, streams)
    if seen.end != first.end:
        found.append(Delta("end of the body", first.end, seen.end))
    return found


def _heads(seen: Observation, stub: Observation) -> Iterator[Delta]:
    if seen.status != stub.status:
        yield Delta("status", str(stub.status), str(seen.status))
    if seen.content_type != stub.content_type:
        yield Delta("content type", stub.content_type, seen.content_type)
    here, there = set(stub.headers) - NOT_COMPARED, set(seen.headers) - NOT_COMPARED
    for name in sorted(there - here):
        yield Delta(f"header {name}", "absent", f"present: {seen.headers[name]}")
    for name in sorted(here - there):
        yield Delta(f"header {name}", "present", "absent")


def _said_instead(seen: Observation) -> Iterator[Delta]:
    """Describe a response of another kind by its kind and its text only."""
    yield Delta("body", "another kind of answer", seen.body)
    detail = seen.skeleton.get("$.detail")
    if detail is not None and detail.texts:
        yield Delta("body $.detail", "absent", _said(detail.texts))


def _texts(seen: str | None, stub: str | None) -> Iterator[Delta]:
    if seen != stub:
        yield Delta("text", stub or "none", seen or "none")


def shape_deltas(where: str, seen: Skeleton, stub: Skeleton) -> Iterator[Delta]:
    """Return new members, missing members, and types and texts that the stub does not have."""
    odd: list[str] = []
    for path in sorted(seen.keys() | stub.keys()):
        if any(path.startswith((f"{each}.", f"{each}[")) for each in odd):
            continue
        one, other = seen.get(path), stub.get(path)
        if one is None and other is not None:
            if other.always and _reached(path, seen):
                odd.append(path)
                yield Delta(f"{where} {path}", _types(other), "absent")
        elif one is not None and other is None:
            if _reached(path, stub):
                odd.append(path)
                yield Delta(f"{where} {path}", "absent", _types(one))
        elif one is not None and other is not None:
            yield from _facts(f"{where} {path}", path, one, other)


def _facts(where: str, path: str, seen: Facts, stub: Facts) -> Iterator[Delta]:
    known = stub.types | ({"integer"} if "number" in stub.types else set())
    if not seen.types <= known:
        yield Delta(where, _types(stub), _types(seen))
    name = path.rpartition(".")[2].removesuffix("[]")
    if name in TEXTS and stub.texts and not seen.texts <= stub.texts:
        yield Delta(where, _said(stub.texts), _said(seen.texts - stub.texts))


def _reached(path: str, other: Skeleton) -> bool:
    """Return whether the other side has the parent of this path."""
    if path == "$":
        return True
    if path.endswith("[]"):
        lengths = other[path[:-2]].lengths if path[:-2] in other else None
        return lengths is not None and lengths[1] > 0
    parent = other.get(path.rpartition(".")[0])
    return parent is not None and "object" in parent.types


def _streams(seen: Stream, stubs: Sequence[Stream]) -> Iterator[Delta]:
    ends = {each.end for each in stubs}
    if seen.end not in ends:
        yield Delta("end of the stream", " or ".join(sorted(ends)), seen.end)
    if seen.ids > max(each.ids for each in stubs):
        yield Delta("chunk ids in one stream", str(max(each.ids for each in stubs)), str(seen.ids))
    expected = [_sure(each.kinds) for each in stubs]
    if _sure(seen.kinds) not in expected:
        yield Delta("order of events", _arrow(expected[0]), _arrow(_sure(seen.kinds)))
    for kind, shape in sorted(seen.shapes.items()):
        known = [each.shapes[kind] for each in stubs if kind in each.shapes]
        if known:
            yield from shape_deltas(f"{kind} event", shape, merged(known))
        elif kind in BY_CHANCE:
            yield Delta(f"{kind} event", "none", "present")


def _sure(kinds: Sequence[str]) -> list[str]:
    """Return the kinds that do not depend on the model's choice."""
    return [kind for kind in kinds if kind not in BY_CHANCE]


def _arrow(kinds: Sequence[str]) -> str:
    return " → ".join(kinds) or DONE


def _types(facts: Facts) -> str:
    return " or ".join(sorted(facts.types)) + ("" if facts.always else ", not always")


def _said(texts: set[str]) -> str:
    return " | ".join(f"“{each}”" for each in sorted(texts))
