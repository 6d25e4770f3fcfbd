"""The page of the settings: an overview in groups, then each setting in full."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from autopilot.settings import DECLARED, Setting
from autopilot.settings.types import HashKey
from tools.docs.tables import code, table

# The settings are declared by subject: each group begins with this one, and ends before the next.
_GROUPS: Final = {
    "LISTEN_ADDR": "Addresses and TLS",
    "BACKEND_BASE_URL": "The platform and its feeds",
    "ALIASES": "Models and keys",
    "FAILOVER_POLICY": "Failover and streams",
    "UPSTREAM_CONNECT_TIMEOUT_MS": "Time-outs of the upstream",
    "UPSTREAM_POOL_IDLE_MS": "Connections to the upstream",
    "STICKY_TTL_SECS": "Stickiness and shared state",
    "PRIVATE": "Private mode",
    "TRUST_PROXY_HEADERS": "Clients and limits",
    "DRAIN_DELAY_MS": "Shutdown and logs",
}


def grouped() -> Iterator[tuple[str, list[Setting]]]:
    """Return the groups with their settings, in the order of their declaration."""
    starts = [at for at, each in enumerate(DECLARED) if each.name in _GROUPS]
    for start, end in zip(starts, [*starts[1:], len(DECLARED)], strict=True):
        yield _GROUPS[DECLARED[start].name], list(DECLARED[start:end])


def settings_overview() -> str:
    """Return a table for each group."""
    return "\n\n".join(
        f"**[{title}](#{title.lower().replace(' ', '-')})**\n\n{_overview(group)}"
        for title, group in grouped()
    )


def settings() -> str:
    """Return every setting with a heading of its own, by group."""
    return "\n\n".join(
        f"## {title}\n\n" + "\n\n".join(map(_details, group)) for title, group in grouped()
    )


def _overview(group: list[Setting]) -> str:
    return table(
        ("name", "default", "meaning"),
        (
            (f"[`{each.name}`](#{each.field})", code(each.default), _first_sentence(each.help))
            for each in group
        ),
    )


def _first_sentence(text: str) -> str:
    return text.partition(". ")[0].removesuffix(".") + "."


def _details(each: Setting) -> str:
    return (
        f"### `{each.name}`\n\n{each.help}\n\n"
        f"Values: {each.kind.expected}. Default: {code(each.default)}. {_changes(each)}"
    )


def _changes(setting: Setting) -> str:
    secret = " Never shown." if isinstance(setting.kind, HashKey) else ""
    lower = f" Also read as `{setting.name.lower()}`, which wins." if setting.lower_case else ""
    return ("*Live.*" if setting.live else "Needs a restart.") + secret + lower


def live_settings() -> str:
    """Return the names of the settings that can change at run time."""
    return ", ".join(f"[`{each.name}`](settings.md#{each.field})" for each in DECLARED if each.live)
