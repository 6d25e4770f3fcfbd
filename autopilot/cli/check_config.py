"""The check of this environment's settings: their validity and their sources."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Final

from autopilot.cli.check_result import CheckResult, CheckState
from autopilot.cli.platform import OF_PLATFORM, env_file
from autopilot.settings import DECLARED, Settings, SettingsError, choose, load_settings

HIDDEN: Final = "********"
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
    effective: tuple[tuple[str, str, str], ...]


def configuration(environ: Mapping[str, str]) -> Configuration:
    """Check the environment and the ``.env`` file. Raises `CommandError`."""
    in_file = env_file()
    doubts = tuple(_misspelled(in_file))
    try:
        settings = load_settings({}, environ, in_file)
    except SettingsError as wrong:
        bad = tuple(CheckResult(_CHECK, "", CheckState.FAIL, each) for each in wrong.problems)
        return Configuration((*bad, *doubts), _for_the_network(environ, in_file), ())
    effective = tuple(_effective(settings, environ, in_file))
    given: dict[str, list[str]] = {}
    for name, _, origin in effective:
        if origin != "default":
            given.setdefault(origin, []).append(name)
    count = sum(map(len, given.values()))
    where = "".join(f"; by {origin}: {', '.join(names)}" for origin, names in given.items())
    detail = f"{len(effective)} settings are valid, {count} of them set{where}"
    return Configuration(
        (CheckResult(_CHECK, "", CheckState.OK, detail), *doubts), settings, effective
    )


def _effective(
    settings: Settings, environ: Mapping[str, str], in_file: Mapping[str, str | None]
) -> Iterator[tuple[str, str, str]]:
    chosen = choose({}, environ, in_file)
    for setting in DECLARED:
        value = getattr(settings, setting.field)
        origin = chosen[setting.name].origin if setting.name in chosen else "default"
        yield setting.name, HIDDEN if setting.secret and value else setting.kind.show(value), origin


def _for_the_network(
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
