"""The merge of options, environment and ``.env`` file into validated ``Settings``.

``twistd autopilot`` calls ``load_settings``; an embedding application constructs ``Settings`` or
calls ``Settings.load``. This module reads neither the environment nor a file: the caller passes
their contents.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Final

from autopilot.settings.declaration import Setting, SettingsError
from autopilot.settings.merge import Chosen, merged
from autopilot.settings.merge import choose as choose_of
from autopilot.settings.network import NO_PORT, UsualAddress, split_address
from autopilot.settings.proxies import ProxyUrl
from autopilot.settings.schema import DECLARED, RELATED, Settings
from autopilot.settings.state_url import StateUrl

__all__ = [
    "DECLARED",
    "HIDDEN",
    "NO_PORT",
    "Chosen",
    "EffectiveSetting",
    "Setting",
    "Settings",
    "SettingsError",
    "UsualAddress",
    "changed_settings",
    "choose",
    "effective_settings",
    "load_settings",
    "only",
    "split_address",
]

HIDDEN: Final = "********"
"""The text shown instead of a secret setting's value."""


def choose(
    options: Mapping[str, str | None],
    environ: Mapping[str, str | None],
    env_file: Mapping[str, str | None],
) -> dict[str, Chosen]:
    """Return the text that takes effect for each variable, as `autopilot.settings.merge` does."""
    return choose_of(DECLARED, options, environ, env_file)


def only(texts: Mapping[str, str | None], names: Collection[str]) -> dict[str, str | None]:
    """Return the texts of the named settings, in every spelling."""
    return {
        name: texts.get(name)
        for setting in DECLARED
        if setting.name in names
        for name in setting.spellings
    }


@dataclass(frozen=True, slots=True)
class EffectiveSetting:
    """One setting as the operator sees it: its name, its value without secrets, its origin."""

    name: str
    value: str
    origin: str


def effective_settings(
    settings: Settings, chosen: Mapping[str, Chosen]
) -> tuple[EffectiveSetting, ...]:
    """Return every setting with its effective value, in the order of their declaration."""
    found = []
    for setting in DECLARED:
        value = getattr(settings, setting.field)
        shown = _without_secrets(setting, value)
        origin = chosen[setting.name].origin if setting.name in chosen else "default"
        found.append(EffectiveSetting(setting.name, shown, origin))
    return tuple(found)


def changed_settings(
    settings: Settings, chosen: Mapping[str, Chosen]
) -> tuple[EffectiveSetting, ...]:
    """Return the settings whose value is not the default, in the order of their declaration."""
    usual = Settings()
    changed = {
        each.name
        for each in DECLARED
        if getattr(settings, each.field) != getattr(usual, each.field)
    }
    return tuple(each for each in effective_settings(settings, chosen) if each.name in changed)


def _without_secrets(setting: Setting, value: object) -> str:
    if isinstance(setting.kind, ProxyUrl | StateUrl):
        return setting.kind.hide(value)
    return HIDDEN if setting.secret and value else setting.kind.show(value)


def load_settings(
    options: Mapping[str, str | None],
    environ: Mapping[str, str | None],
    env_file: Mapping[str, str | None],
) -> Settings:
    """Return the settings: option over environment over file over default (contract §12).

    :raises SettingsError: it names every invalid variable, not only the first.
    """
    return merged(Settings, DECLARED, RELATED, choose(options, environ, env_file))
