"""The merge of options, environment and ``.env`` file into validated ``Settings``.

``twistd autopilot`` calls ``load_settings``; an embedding application constructs ``Settings``
directly. This module reads neither the environment nor a file: the caller passes their contents.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from autopilot.settings.network import NO_PORT, UsualAddress, split_address
from autopilot.settings.proxies import ProxyUrl
from autopilot.settings.schema import CONTRADICTIONS, DECLARED, Setting, Settings, SettingsError

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


@dataclass(frozen=True, slots=True)
class Chosen:
    """The text that takes effect for a variable, and its origin."""

    text: str = field(repr=False)
    origin: str


def choose(
    options: Mapping[str, str | None],
    environ: Mapping[str, str | None],
    env_file: Mapping[str, str | None],
) -> dict[str, Chosen]:
    """Return the text that takes effect for each variable that is set in any of the three sources.

    All three map variable names to texts. An option wins over the environment, and that over the
    file. An empty text counts as not set. Of a variable that has two spellings the one in lower
    case wins over the other of the same source.
    """
    chosen: dict[str, Chosen] = {}
    for setting in DECLARED:
        for origin, texts in (("option", options), ("environment", environ), (".env", env_file)):
            spelled = ((texts.get(name) or "").strip(" \t\r\n") for name in setting.spellings)
            text = next(filter(None, spelled), "")
            if text:
                chosen[setting.name] = Chosen(text, origin)
                break
    return chosen


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
    if isinstance(setting.kind, ProxyUrl):
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
    values: dict[str, Any] = {}
    problems: dict[str, str] = {}
    chosen = choose(options, environ, env_file)
    for setting in DECLARED:
        if setting.name in chosen:
            try:
                values[setting.field] = setting.parse(chosen[setting.name].text)
            except ValueError as error:
                problems[setting.name] = f"{setting.name}: {error}"
    try:
        settings = Settings(**values)
    except SettingsError as error:
        for line in error.problems:
            # A contradiction with a value that was itself rejected would be a second error for one
            # mistake.
            if not _involves_rejected(line.partition(":")[0], problems):
                problems[line.partition(":")[0]] = line
    else:
        if not problems:
            return settings
    raise SettingsError(tuple(problems.values()))


def _involves_rejected(name: str, rejected: Mapping[str, str]) -> bool:
    """Return whether the contradiction reported at `name` involves an already rejected variable."""
    return any(
        names[0] == name and not rejected.keys().isdisjoint(names) for names, _, _ in CONTRADICTIONS
    )
