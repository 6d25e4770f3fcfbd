"""The pages of operators and the model list, with 2,000 models."""

from __future__ import annotations

from tests.rigs.hold.input import MIB, Input, Port, Reads
from tests.rigs.hold.wire import get

_OK = frozenset({200})
_SETUP = ("2000 models",)
_PATHS = (
    ("/status", Port.ADMIN),
    ("/status.json", Port.ADMIN),
    ("/metrics", Port.ADMIN),
    ("/readyz", Port.API),
    ("/v1/models", Port.API),
    ("/v1/models/acme/other-1", Port.API),
)


def _page(path: str, to: Port, times: int, connections: int) -> Input:
    return Input(
        family="pages",
        name=f"{connections} × {times} × GET {path}",
        request=get(path, times),
        connections=connections,
        to=to,
        answers=_OK,
        memory=32 * MIB,
        setups=_SETUP,
        seconds=60.0,
    )


INPUTS = (
    *(_page(path, to, 1, 1) for path, to in _PATHS),
    *(_page(path, to, 5, 20) for path, to in _PATHS),
    Input(
        family="pages",
        name="50 subscribers of /status/events",
        request=get("/status/events"),
        connections=50,
        reads=Reads.NOTHING,
        stay=3.0,
        to=Port.ADMIN,
        # There is room for 16 of them.
        answers=frozenset({200, 503}),
        memory=64 * MIB,
        setups=_SETUP,
    ),
)
