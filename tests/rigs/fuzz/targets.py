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
from tests.rigs.fuzz.cost import Budget, Oracle
from tests.rigs.fuzz.events import events
from tests.rigs.fuzz.feeds import catalog, evidence, utilization
from tests.rigs.fuzz.shapes import long_body, long_stream, size_of
from tests.rigs.fuzz.upstream import upstream

_WITH_ROUTER: Final = Budget()
_PARSED: Final = Budget(seconds=0.05)
"""For inputs that are only parsed: without a router, which takes some milliseconds to build."""
_LONG_BODY: Final = Budget(0.05, 0.0005, memory_per_byte=8)
_LONG_STREAM: Final = Budget(0.2, 0.0005, memory_per_byte=32)
"""For inputs that grow: 0.5 s for each MB, of which code that is not instrumented takes a part.
The transports of the tests keep what is written to them."""

FOUND: Final = Path(__file__).with_name("found")


@dataclass(frozen=True, slots=True)
class Target:
    """A function to fuzz.

    ``largest`` is the size above which inputs only cost time; ``size`` returns the number of bytes
    that an input stands for, which ``budget`` applies to.
    """

    run: Callable[[bytes], None]
    made: Callable[[], Iterator[bytes]]
    tokens: tuple[bytes, ...]
    largest: int = 4096
    budget: Budget = _WITH_ROUTER
    size: Callable[[bytes], int] = len

    @property
    def name(self) -> str:
        """The name on the command line."""
        return self.run.__name__

    def oracle(self) -> Oracle:
        """Return the function to fuzz, which also judges what each input costs."""
        return Oracle(self.run, self.budget, self.size)

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
        Target(body, seeds.of_bodies, seeds.JSON, budget=_PARSED),
        Target(catalog, seeds.of_catalogs, seeds.JSON + seeds.FEEDS, budget=_PARSED),
        Target(utilization, seeds.of_utilization, seeds.JSON + seeds.FEEDS, budget=_PARSED),
        Target(evidence, seeds.of_evidence, seeds.JSON + seeds.EVIDENCE, budget=_PARSED),
        Target(events, seeds.of_events, seeds.SSE + seeds.JSON, largest=2048),
        Target(long_body, seeds.of_long_bodies, seeds.JSON, 512, _LONG_BODY, size_of),
        Target(
            long_stream, seeds.of_long_streams, seeds.SSE + seeds.JSON, 512, _LONG_STREAM, size_of
        ),
    )
}
