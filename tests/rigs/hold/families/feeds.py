"""Feeds with many records, or with records that are dear to read."""

from __future__ import annotations

from tests.rigs.hold import feeds
from tests.rigs.hold.input import MB, MIB, FeedBodies, Input, Wire
from tests.rigs.hold.wire import filled, get

_STAY = 1.6
"""Some refreshes of both feeds."""
_NEARLY = 16 * MB
"""Close to the limit of a feed, 16 MiB."""


def _input(name: str, catalog: Wire | None = None, utilization: Wire | None = None) -> Input:
    return Input(
        family="feeds",
        name=name,
        request=get("/healthz"),
        stay=_STAY,
        feeds=FeedBodies(catalog, utilization),
        memory=256 * MIB,
        setups=("feeds",),
    )


def _of(count: int) -> Input:
    return _input(
        f"{count:,} models", lambda: feeds.catalog(count), lambda: feeds.utilization(count)
    )


def _shape(before: bytes, unit: bytes, after: bytes) -> Wire:
    return lambda: filled(before, unit, after, _NEARLY)


INPUTS = (
    _input("honest feeds"),
    _of(220),
    _of(2000),
    _of(5000),
    _of(10_000),
    _input("5,000 records, the usual catalog", None, lambda: feeds.utilization(5000)),
    _input("10,000 models, the usual records", lambda: feeds.catalog(10_000)),
    _input(
        "50,000 models, few members each",
        lambda: feeds.compact_catalog(50_000),
        lambda: feeds.compact_utilization(50_000),
    ),
    _input("catalog: empty objects, 16 MB", _shape(b'{"data":[{}', b",{}", b"]}")),
    _input("catalog: nulls, 16 MB", _shape(b'{"data":[null', b",null", b"]}")),
    _input("catalog: brackets, 16 MB", _shape(b"[", b"[", b"")),
    _input("catalog: one long name", _shape(b'{"data":[{"id":"', b"a", b'"}]}')),
    _input("catalog: not JSON, 16 MB", _shape(b"x", b"x", b"")),
    _input("records: empty lists, 16 MB", None, _shape(b"[[]", b",[]", b"]")),
    _input("records: numbers, 16 MB", None, _shape(b"[1", b",1", b"]")),
    _input("records: one long number", None, _shape(b"[1", b"1", b"]")),
    _input("records: members, 16 MB", None, _shape(b'[{"name":"a"', b',"b":1', b"}]")),
)
