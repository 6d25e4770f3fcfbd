"""The targets, each with its seeds and the tokens for mutations.

A target is a function of bytes that raises if a guarantee is violated. The files of
`found/<name>/`, earlier findings of the fuzzer, are seeds as well, so that every later run repeats
them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.rigs.fuzz import seeds
from tests.rigs.fuzz.bodies import body
from tests.rigs.fuzz.client import client
from tests.rigs.fuzz.events import events
from tests.rigs.fuzz.feeds import catalog, evidence, utilization
from tests.rigs.fuzz.upstream import upstream

FOUND: Final = Path(__file__).with_name("found")


@dataclass(frozen=True, slots=True)
class Target:
    """A function to fuzz. ``largest`` is the size above which inputs only cost time."""

    run: Callable[[bytes], None]
    made: Callable[[], Iterator[bytes]]
    tokens: tuple[bytes, ...]
    largest: int = 4096

    @property
    def name(self) -> str:
        """The name on the command line."""
        return self.run.__name__

    def seeds(self) -> Iterator[bytes]:
        """Return all seeds, earlier findings first."""
        folder = FOUND / self.name
        if folder.is_dir():
            yield from (path.read_bytes() for path in sorted(folder.iterdir()))
        yield from self.made()


TARGETS: Final = {
    target.name: target
    for target in (
        Target(client, seeds.of_clients, seeds.HTTP),
        Target(upstream, seeds.of_upstreams, seeds.HTTP + seeds.SSE),
        Target(body, seeds.of_bodies, seeds.JSON),
        Target(catalog, seeds.of_catalogs, seeds.JSON + seeds.FEEDS),
        Target(utilization, seeds.of_utilization, seeds.JSON + seeds.FEEDS),
        Target(evidence, seeds.of_evidence, seeds.JSON + seeds.EVIDENCE),
        Target(events, seeds.of_events, seeds.SSE + seeds.JSON, largest=2048),
    )
}
