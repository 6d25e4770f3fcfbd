"""The objects that all exchanges share, made once by the proxy."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from twisted.internet.interfaces import IReactorTime

    from autopilot.observability.log_rate_limit import FailureLog
    from autopilot.observability.records import RequestRecord
    from autopilot.relay.downstream import ClientRequest
    from autopilot.relay.exchange_machine import ExchangeMachine
    from autopilot.relay.pacing import Pacing
    from autopilot.relay.response_head import DateField
    from autopilot.state.circuit_breaker import Client
    from autopilot.state.hedging import HedgeBudget
    from autopilot.state.tables import StateTables
    from autopilot.upstream.pool import Pool

Limited = Callable[["Client", Mapping[bytes, bytes], float], None]
"""Takes the hash of a client, the fields of a response that state its limits, and the time."""


@dataclass(frozen=True, slots=True)
class Collaborators:
    """The objects that all exchanges share.

    ``client`` returns the hash of a request's client. An exchange calls ``released`` when it ends.
    It calls ``limited`` with what an upstream states of the client's limits, and asks ``pacing``
    before each call of a dialect that is governed. Its deadlines are those of ``clock``.
    ``hedges`` limits how many have a second attempt beside the first.
    """

    seconds: Callable[[], float]
    pool: Pool
    tables: StateTables
    record: Callable[[RequestRecord], None]
    client: Callable[[ClientRequest], Client]
    released: Callable[[ExchangeMachine], None]
    failures: FailureLog
    date: DateField
    limited: Limited
    clock: IReactorTime
    hedges: HedgeBudget
    pacing: Pacing | None = None
