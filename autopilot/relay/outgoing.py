"""One client request as it goes upstream, to whichever model its exchange turns to."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from msgspec import Struct

from autopilot.http.headers import Field, request_head
from autopilot.routing.deadlines import first_content_allowance

if TYPE_CHECKING:
    from twisted.internet.interfaces import IReactorTime

    from autopilot.relay.journal import Memory
    from autopilot.relay.trace import Trace
    from autopilot.request.body import BodyTemplate
    from autopilot.routing.snapshot import Snapshot
    from autopilot.upstream.pool import Origin, Pool
    from autopilot.upstream.types import UpstreamCall


class Outgoing(Struct, frozen=True, eq=False):
    """Sends the same request to one model after another; only ``model`` in its body differs."""

    clock: IReactorTime
    pool: Pool
    origin: Origin
    target: bytes
    fields: Sequence[Field]
    body: BodyTemplate
    snapshot: Snapshot
    memory: Memory
    failover_after: float
    connect_timeout: float | None = None
    trace: Trace | None = None

    def __repr__(self) -> str:
        return "Outgoing()"

    def send(self, model: str, call_for: Callable[[bytes], UpstreamCall], *, fresh: bool) -> None:
        """Send the request to ``model``."""
        origin = self.origin
        pieces = self.body.pieces(model)
        target = origin.base_path.encode("ascii") + self.target
        fields = self.fields if self.trace is None else self.trace.inject(self.fields)
        head = request_head(target, origin.host_field, fields, sum(map(len, pieces)))
        call = call_for(b"".join((head, *pieces)))
        self.pool.dispatch(origin, call, fresh=fresh, timeout=self.connect_timeout)

    def allowance(self, model: str) -> float:
        """Seconds until ``model`` must have begun to answer while another candidate is left."""
        return first_content_allowance(
            self.failover_after, len(self.body), self.memory.experience.p95(model)
        )

    def cooling(self) -> frozenset[str]:
        """The models that are behind all others now."""
        return self.memory.cooldown.cooling(self.clock.seconds())

    def larger(self, model: str) -> frozenset[str]:
        """The models with a known larger context than ``model``, where its own is known."""
        catalog = self.snapshot.catalog
        own = catalog.models.get(model) if catalog is not None else None
        if catalog is None or own is None or own.context_length is None:
            return frozenset()
        return frozenset(
            other.name
            for other in catalog.models.values()
            if other.context_length is not None and other.context_length > own.context_length
        )
