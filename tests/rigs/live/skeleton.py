"""JSON without its values: the members, their types, lengths and frequencies.

A skeleton maps paths such as `$.choices[].delta.role` to what was found there. It is built from an
allow-list: strings are kept under a few names only, and only as words.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from tests.rigs.live.redact import Redactor

KEPT = frozenset({
    "code", "detail", "error", "finish_reason", "message", "msg", "object", "owned_by", "role",
    "status", "stop_reason", "type",
})  # fmt: skip
DEEPEST = 12
MOST_PATHS = 400


@dataclass(slots=True)
class Facts:
    """The findings at one path: `times` is their number, `parents` that of the possible objects."""

    types: set[str] = field(default_factory=set)
    texts: set[str] = field(default_factory=set)
    lengths: tuple[int, int] | None = None
    times: int = 0
    parents: int = 0

    @property
    def always(self) -> bool:
        """Whether every object that could have the member has it."""
        return self.times >= self.parents

    def note_length(self, length: int) -> None:
        """Extend the range of lengths."""
        low, high = self.lengths or (length, length)
        self.lengths = min(low, length), max(high, length)

    def __str__(self) -> str:
        told = " or ".join(sorted(self.types))
        if self.lengths is not None:
            told += " of {}..{}".format(*self.lengths)
        if self.texts:
            told += ": " + " | ".join(f"“{each}”" for each in sorted(self.texts))
        return told if self.always else f"{told}, not always"


Skeleton = dict[str, Facts]


def skeleton_of(values: Iterable[Any], redactor: Redactor) -> Skeleton:
    """Return one skeleton for several values of the same kind."""
    found = _Builder(redactor)
    for value in values:
        found.walk("$", value, "", 0)
    return found.finished()


def merged(skeletons: Iterable[Skeleton]) -> Skeleton:
    """Merge skeletons; `always` remains only if it holds in all."""
    given = list(skeletons)
    whole: Skeleton = {}
    for path in {path for each in given for path in each}:
        facts = Facts()
        for each in given:
            _add(facts, each.get(path))
        whole[path] = facts
    return whole


def _add(facts: Facts, more: Facts | None) -> None:
    if more is None:
        facts.parents += 1
        return
    facts.types |= more.types
    facts.texts |= more.texts
    facts.times += more.times
    facts.parents += more.parents
    for length in more.lengths or ():
        facts.note_length(length)


class _Builder:
    """Walks values and counts the findings."""

    def __init__(self, redactor: Redactor) -> None:
        self._redactor = redactor
        self._facts: Skeleton = {}
        self._objects: dict[str, int] = {}

    def walk(self, path: str, value: Any, name: str, depth: int) -> None:
        """Add a value of the member with this name."""
        if path not in self._facts and len(self._facts) >= MOST_PATHS:
            return
        facts = self._facts.setdefault(path, Facts())
        facts.times += 1
        facts.types.add(_type(value))
        if isinstance(value, str):
            self._string(facts, value, name)
        elif isinstance(value, list):
            facts.note_length(len(value))
            for each in value if depth < DEEPEST else ():
                self.walk(f"{path}[]", each, name, depth + 1)
        elif isinstance(value, dict):
            self._objects[path] = self._objects.get(path, 0) + 1
            for key, each in value.items() if depth < DEEPEST else ():
                self.walk(f"{path}.{self._redactor.name(key)}", each, key, depth + 1)

    def finished(self) -> Skeleton:
        """Return all findings, with the number of places in which each could have occurred."""
        for path, facts in self._facts.items():
            parent = path.rpartition(".")[0]
            facts.parents = self._objects.get(parent, 0) if not path.endswith("]") else 0
        return self._facts

    def _string(self, facts: Facts, value: str, name: str) -> None:
        facts.note_length(len(value))
        if name in KEPT:
            facts.texts.add(self._redactor.text(value))
        else:
            self._redactor.hide(value)


def _type(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, int):
        return "integer"
    if isinstance(value, float):
        return "number"
    if isinstance(value, str):
        return "string"
    return "array" if isinstance(value, list) else "object"
