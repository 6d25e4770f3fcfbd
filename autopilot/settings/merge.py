"""The merge of options, environment and ``.env`` file into settings, whatever their table is.

Nothing here reads the environment or a file: the caller passes their contents.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from autopilot.settings.declaration import Setting, SettingsError, problem_of

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Chosen:
    """The text that takes effect for a variable, and its origin."""

    text: str = field(repr=False)
    origin: str


def choose(
    declared: Iterable[Setting],
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
    for setting in declared:
        for origin, texts in (("option", options), ("environment", environ), (".env", env_file)):
            spelled = ((texts.get(name) or "").strip(" \t\r\n") for name in setting.spellings)
            text = next(filter(None, spelled), "")
            if text:
                chosen[setting.name] = Chosen(text, origin)
                break
    return chosen


def merged(
    make: Callable[..., _T],
    declared: Iterable[Setting],
    related: Iterable[Collection[str]],
    chosen: Mapping[str, Chosen],
) -> _T:
    """Return what ``make`` makes of the values; ``related`` are variables that may contradict.

    :raises SettingsError: it names every invalid variable, not only the first.
    """
    values: dict[str, Any] = {}
    problems: dict[str, str] = {}
    for setting in declared:
        if setting.name in chosen:
            try:
                values[setting.field] = setting.parse(chosen[setting.name].text)
            except ValueError as error:
                problems[setting.name] = problem_of(setting.name, error)
    try:
        made = make(**values)
    except SettingsError as error:
        found: dict[str, list[str]] = {}
        for line in error.problems:
            # A contradiction with a value that was itself rejected would be a second error for one
            # mistake.
            name = line.partition(":")[0]
            if not _involves_rejected(name, related, problems):
                found.setdefault(name, []).append(line)
        problems |= {name: "\n".join(lines) for name, lines in found.items()}
    else:
        if not problems:
            return made
    raise SettingsError(tuple(problems.values()))


def _involves_rejected(
    name: str, related: Iterable[Collection[str]], rejected: Mapping[str, str]
) -> bool:
    """Return whether the contradiction reported at `name` involves an already rejected variable."""
    return any(
        next(iter(names)) == name and not rejected.keys().isdisjoint(names) for names in related
    )
