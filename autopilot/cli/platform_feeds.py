"""The platform's two feeds for sub-commands, fetched now or read from saved files."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeVar

from twisted.internet.defer import Deferred, DeferredList, succeed
from twisted.web.iweb import IAgent

from autopilot.cli.console import CommandError, Console
from autopilot.feeds.parsers import parse_catalog, parse_utilization
from autopilot.http.fetch import MAX_BYTES, Fetcher
from autopilot.http.fetch_error import FetchError
from autopilot.routing.catalog import Catalog
from autopilot.routing.ranking import Excluded, Load, Ranked, excluded, rank
from autopilot.routing.snapshot import Snapshot
from autopilot.settings import Settings

STDIN: Final = "-"
OPTIONS: Final = ("MODELS_URL", "UTILIZATION_URL")
"""The settings that `add_feed_arguments` declares options for."""

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class FeedData:
    """Both feeds, parsed; the ranking is computed from them."""

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
        """The utilization records that are not ranked, each with the reason."""
        return excluded(self.loads, self.catalog)

    @property
    def snapshot(self) -> Snapshot:
        """The snapshot that a router would make of these feeds."""
        return Snapshot(self.catalog, self.ranking, 0.0, 0.0)

    @property
    def without_utilization(self) -> Sequence[str]:
        """The catalog's models that have no utilization record."""
        seen = {load.chute_id for load in self.loads} | {load.name for load in self.loads}
        return [
            model.name
            for model in self.catalog.models.values()
            if model.name not in seen and model.chute_id not in seen
        ]


def add_feed_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options for the sources of both feeds."""
    parser.add_argument(
        "--models", metavar="FILE", help="read the catalog from a file; - is standard input"
    )
    parser.add_argument(
        "--utilization",
        metavar="FILE",
        help="read the utilization feed from a file; - is standard input",
    )
    parser.add_argument(
        "--models-url", metavar="URL", help="fetch the catalog from here [MODELS_URL]"
    )
    parser.add_argument(
        "--utilization-url",
        metavar="URL",
        help="fetch the utilization feed from here [UTILIZATION_URL]",
    )


def feed_options(given: argparse.Namespace) -> dict[str, str | None]:
    """Return the settings given by these arguments."""
    return {name: getattr(given, name.lower()) for name in OPTIONS}


class SavedFiles:
    """The contents of the files that the arguments name. Raises `CommandError`.

    The files are read at once, before the reactor waits for anything: standard input may be typed
    by hand, and while the reactor runs its SIGINT handler cannot interrupt a blocking read.
    """

    def __init__(self, given: argparse.Namespace, *names: str) -> None:
        paths = {name: getattr(given, name) for name in names}
        if sum(path == STDIN for path in paths.values()) > 1:
            raise CommandError("only one file can be standard input (-)")
        self._bodies = {
            name: read_file(f"--{name}", path) for name, path in paths.items() if path is not None
        }
        self._paths = paths

    def __getitem__(self, name: str) -> bytes | None:
        """Return the contents of an argument's file, or None if the argument was not given."""
        return self._bodies.get(name)

    def label(self, name: str) -> str:
        """Return the argument and its file, as an error message names them."""
        return f"--{name} {self._paths[name]}"


def read_file(argument: str, path: str) -> bytes:
    """Return the contents of a file, or of standard input for ``-``. Raises `CommandError`."""
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


async def load_feeds(
    agent: IAgent, reactor: Any, settings: Settings, saved: SavedFiles, console: Console
) -> FeedData:
    """Read both feeds, fetching each one that was not saved. Raises `CommandError`."""
    fetcher = Fetcher(agent, reactor, settings.control_plane_timeout_ms / 1000)

    def fetched(name: str, url: str) -> Deferred[bytes]:
        body = saved[name]
        return fetcher.get(url) if body is None else succeed(body)

    console.progress("fetching the feeds …")
    # A DeferredList, because gatherResults would leave the second of two failures unhandled.
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
    return FeedData(
        Catalog.of(catalog.models), utilization.loads, catalog.rejected, utilization.rejected
    )


def _parsed(
    what: str, name: str, saved: SavedFiles, came: bool, result: Any, parse: Callable[[bytes], _T]
) -> _T:
    """Parse one feed. Raises `CommandError` that names the feed's source."""
    try:
        if not came:
            result.raiseException()
        return parse(result)
    except FetchError as error:
        if saved[name] is not None:
            raise CommandError(f"{saved.label(name)}: {error}") from None
        raise CommandError(f"the {what} could not be fetched: {error}") from None
