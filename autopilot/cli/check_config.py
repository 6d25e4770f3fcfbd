"""The check of this environment's settings: their validity and their sources."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from autopilot.cli import remedies
from autopilot.cli.check_loop import loops
from autopilot.cli.check_result import CheckResult, CheckState
from autopilot.cli.platform import OF_PLATFORM, env_file
from autopilot.settings import (
    EffectiveSetting,
    Settings,
    SettingsError,
    choose,
    effective_settings,
    load_settings,
    misspelled,
    only,
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


@dataclass(frozen=True, slots=True)
class Configuration:
    """The checked configuration.

    ``settings`` suffice for the checks that use the network, or are None if one of those settings
    is invalid. ``effective`` lists every setting, and is empty if any setting is invalid.
    """

    results: tuple[CheckResult, ...]
    settings: Settings | None
    effective: tuple[EffectiveSetting, ...]


def configuration(environ: Mapping[str, str], path: str | None = None) -> Configuration:
    """Check the environment and the ``.env`` file, or that at ``path``. Raises `CommandError`."""
    in_file = env_file(path)
    warnings = tuple(
        CheckResult(_CHECK, path or ".env", CheckState.WARN, text) for text in misspelled(in_file)
    )
    try:
        settings = load_settings({}, environ, in_file)
    except SettingsError as wrong:
        bad = tuple(
            CheckResult(_CHECK, "", CheckState.FAIL, text, _remedy(text)) for text in wrong.problems
        )
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
    valid = CheckResult(_CHECK, "", CheckState.OK, detail)
    results = valid, *loops(settings), *defeated, *warnings
    return Configuration(results, settings, effective)


def _remedy(problem: str) -> str:
    """Return what to do where the line of a setting does not say it."""
    return remedies.CA_FILE if problem.startswith("UPSTREAM_CA_FILE:") else ""


def _network_settings(
    environ: Mapping[str, str], in_file: Mapping[str, str | None]
) -> Settings | None:
    """Return the settings that the other checks use, or None if one of those is invalid."""
    try:
        return load_settings({}, only(environ, _NETWORK), only(in_file, _NETWORK))
    except SettingsError:
        return None
