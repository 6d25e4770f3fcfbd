"""Whether the settings of this environment are good, and where each comes from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Final

from autopilot.cli.platform import OF_PLATFORM, env_file
from autopilot.cli.verdict import State, Verdict
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
_ALIKE: Final = 0.85


@dataclass(frozen=True, slots=True)
class Configuration:
    """What the environment says. ``settings`` are enough to ask the platform by, or None.

    ``effective`` are name, value (secrets hidden) and origin of every setting; empty when one is
    bad.
    """

    verdicts: tuple[Verdict, ...]
    settings: Settings | None
    effective: tuple[tuple[str, str, str], ...]


def configuration(environ: Mapping[str, str]) -> Configuration:
    """Read the environment and the ``.env`` file. Raises `CommandError`."""
    in_file = env_file()
    doubts = tuple(_misspelt(in_file))
    try:
        settings = load_settings({}, environ, in_file)
    except SettingsError as wrong:
        bad = tuple(Verdict(_CHECK, "", State.FAIL, each) for each in wrong.problems)
        return Configuration((*bad, *doubts), _for_the_network(environ, in_file), ())
    effective = tuple(_effective(settings, environ, in_file))
    given: dict[str, list[str]] = {}
    for name, _, origin in effective:
        if origin != "default":
            given.setdefault(origin, []).append(name)
    count = sum(map(len, given.values()))
    where = "".join(f"; by {origin}: {', '.join(names)}" for origin, names in given.items())
    detail = f"{len(effective)} settings are good, {count} of them set{where}"
    return Configuration((Verdict(_CHECK, "", State.OK, detail), *doubts), settings, effective)


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
    """The settings that the other checks go by, if those at least are good."""

    def own(texts: Mapping[str, str | None]) -> dict[str, str | None]:
        return {name: texts.get(name) for name in _NETWORK}

    try:
        return load_settings({}, own(environ), own(in_file))
    except SettingsError:
        return None


def _misspelt(in_file: Mapping[str, str | None]) -> Iterator[Verdict]:
    """Names in the file that are nearly those of settings; it may hold others that are not ours."""
    names = [setting.name for setting in DECLARED]
    for name in in_file:
        near = [] if name in names else get_close_matches(name.upper(), names, 1, _ALIKE)
        if near:
            detail = f"{name} is no setting; is {near[0]} meant?"
            yield Verdict(_CHECK, ".env", State.WARN, detail)
