"""What a sub-command knows of the platform: both feeds, fetched now or saved before."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeVar

from twisted.internet.defer import Deferred, DeferredList, succeed
from twisted.web.iweb import IAgent

from autopilot.cli.console import Console
from autopilot.cli.error import CommandError
from autopilot.feeds.parsers import parse_catalog, parse_utilization
from autopilot.http.fetch import MAX_BYTES, Fetcher
from autopilot.http.fetch_error import FetchError
from autopilot.routing.catalog import Catalog
from autopilot.routing.ranking import Excluded, Load, Ranked, excluded, rank
from autopilot.routing.snapshot import Snapshot
from autopilot.settings import Settings

STDIN: Final = "-"
OPTIONS: Final = ("MODELS_URL", "UTILIZATION_URL")
"""The settings that `add_feed_arguments` has options for."""

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Knowledge:
    """Both feeds, read; the ranking is what they make it."""

    catalog: Catalog
    loads: tuple[Load, ...]
    catalog_rejected: int
    utilization_rejected: int

    @property
    def ranking(self) -> tuple[Ranked, ...]:
        """The eligible models, best first."""
        return rank(self.loads, self.catalog)

    @property
    def excluded(self) -> tuple[Excluded, ...]:
        """The utilization records that are not in the ranking, and why."""
        return excluded(self.loads, self.catalog)

    @property
    def snapshot(self) -> Snapshot:
        """The same as a router has it."""
        return Snapshot(self.catalog, self.ranking, 0.0, 0.0)

    @property
    def unheard_of(self) -> Sequence[str]:
        """The models of the catalog that no utilization record is about."""
        seen = {load.chute_id for load in self.loads} | {load.name for load in self.loads}
        return [
            model.name
            for model in self.catalog.models.values()
            if model.name not in seen and model.chute_id not in seen
        ]


def add_feed_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare where the feeds come from."""
    parser.add_argument(
        "--models", metavar="FILE", help="a saved catalog instead of a fetched one; - is the input"
    )
    parser.add_argument(
        "--utilization", metavar="FILE", help="a saved utilization feed; - is the input"
    )
    parser.add_argument("--models-url", metavar="URL", help="the catalog [MODELS_URL]")
    parser.add_argument(
        "--utilization-url", metavar="URL", help="the utilization feed [UTILIZATION_URL]"
    )


def feed_options(given: argparse.Namespace) -> dict[str, str | None]:
    """The settings that these arguments give."""
    return {name: getattr(given, name.lower()) for name in OPTIONS}


class Saved:
    """Files that the arguments name, read before anything is waited for. Raises `CommandError`.

    Reading the input may take as long as somebody types, and an interrupt must be able to end it:
    while the reactor runs, it could not.
    """

    def __init__(self, given: argparse.Namespace, *names: str) -> None:
        paths = {name: getattr(given, name) for name in names}
        if sum(path == STDIN for path in paths.values()) > 1:
            raise CommandError("only one file can be the input (-)")
        self._bodies = {
            name: read_file(f"--{name}", path) for name, path in paths.items() if path is not None
        }
        self._paths = paths

    def __getitem__(self, name: str) -> bytes | None:
        """The bytes of an argument's file; None where there is none."""
        return self._bodies.get(name)

    def where(self, name: str) -> str:
        """The argument and its file, as a complaint begins."""
        return f"--{name} {self._paths[name]}"


def read_file(argument: str, path: str) -> bytes:
    """The bytes of a file, or of the input for ``-``. Raises `CommandError`."""
    try:
        if path == STDIN:
            body = sys.stdin.buffer.read(MAX_BYTES + 1)
        else:
            with Path(path).open("rb") as file:
                body = file.read(MAX_BYTES + 1)
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or "cannot be read"
        raise CommandError(f"{argument} {path}: {why}") from None
    if len(body) > MAX_BYTES:
        raise CommandError(f"{argument} {path}: larger than {MAX_BYTES} bytes")
    return body


async def know(
    agent: IAgent, reactor: Any, settings: Settings, saved: Saved, console: Console
) -> Knowledge:
    """Read both feeds, of which those that were not saved are fetched now.

    Raises `CommandError`.
    """
    fetcher = Fetcher(agent, reactor, settings.control_plane_timeout_ms / 1000)

    def fetched(name: str, url: str) -> Deferred[bytes]:
        body = saved[name]
        return fetcher.get(url) if body is None else succeed(body)

    console.progress("fetching the feeds …")
    # As a list, because of two that fail at once nobody may be left alone.
    (models_came, models), (loads_came, loads) = await DeferredList(
        [
            fetched("models", settings.models_url),
            fetched("utilization", settings.utilization_url),
        ],
        consumeErrors=True,
    )
    console.progress("")
    catalog = _parsed("catalog", "models", saved, models_came, models, parse_catalog)
    utilization = _parsed(
        "utilization feed", "utilization", saved, loads_came, loads, parse_utilization
    )
    return Knowledge(
        Catalog.of(catalog.models), utilization.loads, catalog.rejected, utilization.rejected
    )


def _parsed(
    what: str, name: str, saved: Saved, came: bool, result: Any, parse: Callable[[bytes], _T]
) -> _T:
    """One feed, or in one line what is wrong with it."""
    try:
        if not came:
            result.raiseException()
        return parse(result)
    except FetchError as error:
        if saved[name] is not None:
            raise CommandError(f"{saved.where(name)}: {error}") from None
        raise CommandError(f"the {what} could not be fetched: {error}") from None
