"""The first difference between two images, as text."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields
from itertools import chain, zip_longest
from typing import Any

from tools.image.archives import Entry, Image, Layer

NAMES = ("the first", "the second")


def first(one: Image, other: Image) -> str | None:
    """Return the first difference, layers before configuration, or None."""
    return next(chain(_layers(one, other), _values("config", one.config, other.config)), None)


def _layers(one: Image, other: Image) -> Iterator[str]:
    if len(one.layers) != len(other.layers):
        yield f"{len(one.layers)} layers, and {len(other.layers)}"
    for number, (mine, theirs) in enumerate(zip(one.layers, other.layers, strict=False), 1):
        for difference in _layer(mine, theirs):
            yield f"layer {number}: {difference}"


def _layer(one: Layer, other: Layer) -> Iterator[str]:
    mine = {entry.path: entry for entry in one.entries}
    theirs = {entry.path: entry for entry in other.entries}
    for path in sorted(mine.keys() | theirs.keys()):
        if path not in theirs:
            yield f"{path} is only in {NAMES[0]}"
        elif path not in mine:
            yield f"{path} is only in {NAMES[1]}"
        else:
            yield from _entry(mine[path], theirs[path])
    for here, there in zip(one.entries, other.entries, strict=False):
        if here.path != there.path:
            yield f"{here.path} comes where {there.path} comes in {NAMES[1]}"
    if one.digest != other.digest:
        yield "the same entries, and yet other bytes"


def _entry(one: Entry, other: Entry) -> Iterator[str]:
    for field in fields(Entry):
        mine, theirs = getattr(one, field.name), getattr(other, field.name)
        if mine != theirs:
            yield f"{one.path}: {field.name} is {mine} in {NAMES[0]}, {theirs} in {NAMES[1]}"


def _values(where: str, one: Any, other: Any) -> Iterator[str]:
    if isinstance(one, dict) and isinstance(other, dict):
        for key in sorted(one.keys() | other.keys()):
            yield from _values(f"{where}.{key}", one.get(key), other.get(key))
    elif isinstance(one, list) and isinstance(other, list):
        for number, (mine, theirs) in enumerate(zip_longest(one, other)):
            yield from _values(f"{where}[{number}]", mine, theirs)
    elif one != other:
        yield f"{where} is {one!r} in {NAMES[0]}, {other!r} in {NAMES[1]}"
