"""Header fields by name: gathered once per request, asked many times."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from autopilot.http.headers import Field

Named = Mapping[bytes, Sequence[bytes]]
"""The values of each field in their order, by its lower-case name."""


def by_name(fields: Iterable[Field]) -> Named:
    """Gather ``fields``."""
    found: dict[bytes, list[bytes]] = {}
    for name, value in fields:
        key = name.lower()
        if key in found:
            found[key].append(value)
        else:
            found[key] = [value]
    return found


def text(named: Named, name: bytes) -> str:
    """The first value of the field with this lower-case name; empty where there is none."""
    values = named.get(name)
    return values[0].decode("latin-1").strip() if values else ""


def says_true(named: Named, name: bytes) -> bool:
    """Whether one of the values of the field says ``true``, however often it stands there."""
    items = b",".join(named.get(name, ())).lower().split(b",")
    return any(item.strip() == b"true" for item in items)
