"""The faults of the upstream, and how often each occurs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from random import Random
from typing import Final, TypeAlias

from tests.rigs.soak import error_responses, odd_streams
from tests.rigs.soak.acts import (
    JSON,
    LAST_CHUNK,
    SSE,
    Act,
    Ending,
    Part,
    chunk,
    cut,
    head,
    raw,
)
from tests.rigs.soak.generation import Generation
from tests.rigs.soak.valid_responses import framed, good

Make: TypeAlias = Callable[[Generation, bool, Random], Act]

_LOST: Final = frozenset({"connection_lost", "cut"})
_MALFORMED: Final = _LOST | {"protocol_error"}
_EXTRA: Final = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil"
_INTERIM: Final = b"HTTP/1.1 103 Early Hints\r\nLink: </soak>\r\n\r\n"


def _slow(generation: Generation, stream: bool, rng: Random) -> Act:
    """Insert pauses, each below every deadline."""
    return _delayed("slow", good(generation, stream, rng), rng, 0.05, 0.5, 4)


def _late(generation: Generation, stream: bool, rng: Random) -> Act:
    """Wait longer than the router waits while other models are left."""
    act = good(generation, stream, rng)
    return replace(act, kind="late", steps=(rng.uniform(0.9, 1.6), *act.steps))


def _delayed(kind: str, act: Act, rng: Random, low: float, high: float, times: int) -> Act:
    steps = list(act.steps)
    for _ in range(times):
        steps.insert(rng.randrange(len(steps)), rng.uniform(low, high))
    return replace(act, kind=kind, steps=tuple(steps))


def _cut(kind: str, ending: Ending) -> Make:
    """Return a maker of responses that stop at any byte, including the first."""

    def make(generation: Generation, stream: bool, rng: Random) -> Act:
        steps = framed(generation, stream, rng)
        act = Act(kind, steps, sse=stream, ending=ending, whole=False, reasons=_LOST)
        place = rng.random()
        if place < 0.15:
            return replace(act, steps=())
        first = next(step for step in steps if isinstance(step, Part))
        limit = len(first.wire) if place < 0.3 else act.wire_size
        return replace(act, steps=cut(steps, rng.randrange(1, limit)))

    return make


def _malformed_head(generation: Generation, stream: bool, rng: Random) -> Act:
    """Return an invalid response."""
    wire = rng.choice(error_responses.MALFORMED)
    return Act("malformed head", (Part(wire),), None, False, Ending.HANG, False, _MALFORMED)


def _bad_chunk(generation: Generation, stream: bool, rng: Random) -> Act:
    """Send an invalid chunk size between two chunks."""
    data = generation.events() if stream else [generation.body()]
    kept = [chunk(each) for each in data[: rng.randint(0, len(data))]]
    steps = (head(generation, 200, SSE if stream else JSON), *kept, Part(b"zz\r\nsoak\r\n"))
    return Act("bad chunk", steps, 200, stream, Ending.HANG, False, _MALFORMED)


def _too_short(generation: Generation, stream: bool, rng: Random) -> Act:
    """Send fewer bytes than Content-Length declares."""
    body = b"".join(generation.events()) if stream else generation.body()
    length = len(body) + rng.randint(1, 100)
    steps = (head(generation, 200, SSE if stream else JSON, length), raw(body))
    return Act("too short", steps, 200, stream, Ending.CLOSE, False, _LOST)


def _too_long(generation: Generation, stream: bool, rng: Random) -> Act:
    """Send a second response, which was not requested, after a complete one."""
    if stream:
        data = [head(generation, 200, SSE), *map(chunk, generation.events())]
        return Act("surplus", (*data, Part(LAST_CHUNK.wire + _EXTRA)), sse=True)
    body = generation.body()
    return Act("surplus", (head(generation, 200, JSON, len(body)), Part(body + _EXTRA, body)))


def _interim(generation: Generation, stream: bool, rng: Random) -> Act:
    """Send interim responses first; the client must not receive any."""
    act = good(generation, stream, rng)
    first = [Part(_INTERIM)] * rng.randint(1, 3)
    return replace(act, kind="interim", steps=(*first, *act.steps))


@dataclass(frozen=True, slots=True)
class Fault:
    """One row: its weight, of about a thousand in all, and a function that makes the act."""

    weight: int
    make: Make


FAULTS: Final[Sequence[Fault]] = (
    Fault(500, good),
    Fault(50, _slow),
    Fault(15, _late),
    Fault(45, _cut("closed", Ending.CLOSE)),
    Fault(45, _cut("reset", Ending.RESET)),
    Fault(15, _cut("silent", Ending.HANG)),
    Fault(25, _malformed_head),
    Fault(15, _bad_chunk),
    Fault(15, _too_short),
    Fault(10, _too_long),
    Fault(15, _interim),
    Fault(20, odd_streams.bare_tail),
    Fault(10, odd_streams.bare_first),
    Fault(15, odd_streams.error_first),
    Fault(10, odd_streams.error_middle),
    Fault(20, odd_streams.empty),
    Fault(10, odd_streams.no_done),
    Fault(10, odd_streams.json_error),
    *(Fault(each.weight, each.make) for each in error_responses.REFUSALS),
)


def choose(generation: Generation, stream: bool, rng: Random, weights: Sequence[int]) -> Act:
    """Return an act for one request; `weights` correspond to `FAULTS`."""
    (fault,) = rng.choices(FAULTS, weights)
    return fault.make(generation, stream, rng)


def weights(share_of_faults: float = 1.0) -> list[int]:
    """Return the usual weights, with the faults scaled by a factor."""
    usual = [fault.weight for fault in FAULTS]
    return [usual[0], *(round(each * share_of_faults) for each in usual[1:])]
