"""From the settings in effect to those that are wanted: what can change now, and what waits.

Which settings can change while the router runs is a column of the table.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from autopilot.settings.schema import DECLARED, Settings


@dataclass(frozen=True, slots=True)
class Change:
    """``settings`` are in effect from now on; ``changed`` names what differs from before.

    ``waiting`` names the settings that were also given another value and need a restart for it.
    """

    settings: Settings
    changed: tuple[str, ...]
    waiting: tuple[str, ...]


def change(before: Settings, wanted: Settings) -> Change:
    """What becomes of `before` when `wanted` is asked for.

    Raises ``SettingsError`` if what can change contradicts what cannot.
    """
    differing = [
        setting
        for setting in DECLARED
        if getattr(before, setting.field) != getattr(wanted, setting.field)
    ]
    live = {each.field: getattr(wanted, each.field) for each in differing if each.live}
    return Change(
        settings=replace(before, **live),
        changed=tuple(each.name for each in differing if each.live),
        waiting=tuple(each.name for each in differing if not each.live),
    )
