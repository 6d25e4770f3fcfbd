"""Private exchanges for the proxy: what is known for their plans, and how one is made."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import structs

from autopilot.relay.private_exchange import PrivateExchange
from autopilot.routing.private_standing import NOTHING_KNOWN, PrivateStanding

if TYPE_CHECKING:
    from autopilot.relay.collaborators import Collaborators
    from autopilot.relay.config import RelayConfig
    from autopilot.relay.downstream import ClientRequest, Downstream
    from autopilot.relay.exchange import Exchange
    from autopilot.relay.private_path import PrivatePath
    from autopilot.relay.trace import Trace
    from autopilot.request.parse import ParsedRequest
    from autopilot.routing.catalog import Catalog
    from autopilot.routing.plan import Plan
    from autopilot.routing.snapshot import Snapshot
    from autopilot.routing.why import AffinityWhy
    from autopilot.state.affinity import AffinityKey


class PrivateExchanges:
    """Makes the exchanges of private requests, and says what is known for their plans."""

    def __init__(self, path: PrivatePath) -> None:
        self._path = path

    @property
    def host(self) -> str:
        """The host to which they are sent."""
        return self._path.target.origin.host

    def standing(self, client: bytes, snapshot: Snapshot) -> PrivateStanding:
        """Return which models can serve a client at once, and which are not attestable."""
        known, catalog = self._path.instances.standing(client), snapshot.catalog
        if catalog is None or not (known.ready or known.unattestable):
            return NOTHING_KNOWN
        return PrivateStanding(_models(known.ready, catalog), _models(known.unattestable, catalog))

    def exchange(
        self,
        shared: Collaborators,
        config: RelayConfig,
        request: ClientRequest,
        response: Downstream,
        parsed: ParsedRequest,
        plan: Plan,
        key: AffinityKey | None,
        remembered: str | None,
        displaced: AffinityWhy | None,
        snapshot: Snapshot,
        trace: Trace | None,
        started: float,
    ) -> Exchange:
        """Return the exchange of a private request, whose one target is that of sealed calls."""
        target = structs.replace(self._path.target, path=request.path.decode("ascii"))
        return PrivateExchange(
            self._path,
            shared,
            config,
            request,
            response,
            target,
            parsed,
            plan,
            key,
            remembered,
            displaced,
            snapshot,
            trace,
            started,
        )


def _models(chutes: frozenset[str], catalog: Catalog) -> frozenset[str]:
    """Return the models of these chutes: of one chute all that the catalog lists."""
    return frozenset(model.name for model in catalog.models.values() if model.chute_id in chutes)
