"""The router's settings: the value, and how it is made from options, environment and ``.env``.

An embedding application builds ``Settings`` directly; ``twistd autopilot`` goes through
``load_settings``. Nothing here reads the environment or a file: texts are handed in.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from autopilot.settings.network import split_address
from autopilot.settings.schema import CONTRADICTIONS, DECLARED, Setting, Settings, SettingsError

__all__ = [
    "DECLARED",
    "Chosen",
    "Setting",
    "Settings",
    "SettingsError",
    "choose",
    "load_settings",
    "split_address",
]


@dataclass(frozen=True, slots=True)
class Chosen:
    """The text that was found for a variable, and where."""

    text: str = field(repr=False)
    origin: str


def choose(
    options: Mapping[str, str | None],
    environ: Mapping[str, str | None],
    env_file: Mapping[str, str | None],
) -> dict[str, Chosen]:
    """The text that counts for each variable that is set anywhere: option, environment, file.

    All three map variable names to texts. An empty text is the same as none.
    """
    chosen: dict[str, Chosen] = {}
    for setting in DECLARED:
        for origin, texts in (("option", options), ("environment", environ), (".env", env_file)):
            text = (texts.get(setting.name) or "").strip(" \t\r\n")
            if text:
                chosen[setting.name] = Chosen(text, origin)
                break
    return chosen


def load_settings(
    options: Mapping[str, str | None],
    environ: Mapping[str, str | None],
    env_file: Mapping[str, str | None],
) -> Settings:
    """The settings that these texts give; option > environment > file > default.

    Raises ``SettingsError`` that names every bad variable, not only the first.
    """
    values: dict[str, Any] = {}
    problems: dict[str, str] = {}
    chosen = choose(options, environ, env_file)
    for setting in DECLARED:
        if setting.name in chosen:
            try:
                values[setting.field] = setting.parse(chosen[setting.name].text)
            except ValueError as wrong:
                problems[setting.name] = f"{setting.name}: {wrong}"
    try:
        settings = Settings(**values)
    except SettingsError as wrong:
        for line in wrong.problems:
            if not _rests_on(line.partition(":")[0], problems):
                problems[line.partition(":")[0]] = line
    else:
        if not problems:
            return settings
    raise SettingsError(tuple(problems.values()))


def _rests_on(name: str, refused: Mapping[str, str]) -> bool:
    """Whether the contradiction reported at `name` involves a variable that was refused itself."""
    return any(
        names[0] == name and not refused.keys().isdisjoint(names) for names, _, _ in CONTRADICTIONS
    )
