"""Unit files, read."""

from __future__ import annotations

from pathlib import Path

from tests.process.processes import ROOT

UNITS = ROOT / "deploy" / "systemd"


def unit(name: str) -> dict[str, list[str]]:
    """The values of each key of a unit, in their order; no key is in two sections of ours."""
    return values((UNITS / name).read_text())


def values(text: str) -> dict[str, list[str]]:
    """The values of each key in a unit's text."""
    found: dict[str, list[str]] = {}
    for line in text.splitlines():
        if line and line[0] not in "#[":
            key, _, value = line.partition("=")
            found.setdefault(key, []).append(value)
    return found


def names() -> list[str]:
    """The unit files that are shipped."""
    return sorted(each.name for each in Path(UNITS).iterdir())
