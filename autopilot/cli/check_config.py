"""The check of this environment's settings: their validity and their sources."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Final

from autopilot.cli.check_result import CheckResult, CheckState
from autopilot.cli.platform import OF_PLATFORM, env_file
from autopilot.settings import (
    DECLARED,
    EffectiveSetting,
    Settings,
    SettingsError,
    choose,
    effective_settings,
    load_settings,
    settings_warnings,
)

_CHECK: Final = "config"
_NETWORK: Final = (
    *OF_PLATFORM,
    "UTILIZATION_URL",
    "BACKEND_BASE_URL",
    "MESSAGES_BASE_URL",
    "RESPONSES_BASE_URL",
    "UPSTREAM_CONNECT_TIMEOUT_MS",
)
_SIMILARITY: Final = 0.85
"""`difflib` ratio above which an unknown name in ``.env`` is probably a misspelt setting."""


@dataclass(frozen=True, slots=True)
class Configuration:
    """The checked configuration.

    ``settings`` suffice for the checks that use the network, or are None if one of those settings
    is invalid. ``effective`` lists every setting, and is empty if any setting is invalid.
    """

    results: tuple[CheckResult, ...]
    settings: Settings | None
    effective: tuple[EffectiveSetting, ...]


def configuration(environ: Mapping[str, str]) -> Configuration:
    """Check the environment and the ``.env`` file. Raises `CommandError`."""
    in_file = env_file()
    warnings = tuple(_misspelled(in_file))
    try:
        settings = load_settings({}, environ, in_file)
    except SettingsError as wrong:
        bad = tuple(CheckResult(_CHECK, "", CheckState.FAIL, text) for text in wrong.problems)
        return Configuration((*bad, *warnings), _network_settings(environ, in_file), ())
    effective = effective_settings(settings, choose({}, environ, in_file))
    set_by: dict[str, list[str]] = {}
    for each in effective:
        if each.origin != "default":
            set_by.setdefault(each.origin, []).append(each.name)
    count = sum(map(len, set_by.values()))
    where = "".join(f"; by {origin}: {', '.join(names)}" for origin, names in set_by.items())
    detail = f"{len(effective)} settings are valid, {count} of them set{where}"
    defeated = (
        CheckResult(_CHECK, "", CheckState.WARN, text) for text in settings_warnings(settings)
    )
    results = CheckResult(_CHECK, "", CheckState.OK, detail), *defeated, *warnings
    return Configuration(results, settings, effective)


def _network_settings(
    environ: Mapping[str, str], in_file: Mapping[str, str | None]
) -> Settings | None:
    """Return the settings that the other checks use, or None if one of those is invalid."""

    def own(texts: Mapping[str, str | None]) -> dict[str, str | None]:
        return {name: texts.get(name) for name in _NETWORK}

    try:
        return load_settings({}, own(environ), own(in_file))
    except SettingsError:
        return None


def _misspelled(in_file: Mapping[str, str | None]) -> Iterator[CheckResult]:
    """Yield a warning for each name in the file that resembles a setting's.

    Other unknown names are fine: the file may be shared with other programs.
    """
    names = [setting.name for setting in DECLARED]
    for name in in_file:
        near = [] if name in names else get_close_matches(name.upper(), names, 1, _SIMILARITY)
        if near:
            detail = f"{name} is not a setting; did you mean {near[0]}?"
            yield CheckResult(_CHECK, ".env", CheckState.WARN, detail)
