"""The change from the settings in effect to newly loaded ones, as far as no restart is needed.

The table of settings marks those that can change while the router runs as live.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from autopilot.settings.schema import DECLARED, Settings


@dataclass(frozen=True, slots=True)
class Change:
    """The effect of a reload: ``settings`` are now in effect, ``changed`` names what differs.

    ``waiting`` names the settings whose new value takes effect only after a restart.
    """

    settings: Settings
    changed: tuple[str, ...]
    waiting: tuple[str, ...]


def change(before: Settings, wanted: Settings) -> Change:
    """Apply the live settings of `wanted` to `before`.

    :raises SettingsError: a changed live setting contradicts one that needs a restart.
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
