"""Private exchanges for the proxy: what is known for their plans, and how one is made."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import structs

from autopilot.relay.private_exchange import PrivateExchange
from autopilot.routing.private_standing import NOTHING_KNOWN, PrivateStanding

if TYPE_CHECKING:
    from autopilot.relay.collaborators import Collaborators
    from autopilot.relay.config import RelayConfig
    from autopilot.relay.downstream import Downstream
    from autopilot.relay.exchange import Exchange
    from autopilot.relay.planned_request import PlannedRequest
    from autopilot.relay.private_path import PrivatePath
    from autopilot.relay.trace import Trace
    from autopilot.routing.catalog import Catalog
    from autopilot.routing.snapshot import Snapshot


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
        planned: PlannedRequest,
        response: Downstream,
        trace: Trace | None,
    ) -> Exchange:
        """Return the exchange of a private request, whose one target is that of sealed calls."""
        target = structs.replace(self._path.target, path=planned.request.path.decode("ascii"))
        return PrivateExchange(self._path, shared, config, planned, response, target, trace)


def _models(chutes: frozenset[str], catalog: Catalog) -> frozenset[str]:
    """Return the models of these chutes: of one chute all that the catalog lists."""
    return frozenset(model.name for model in catalog.models.values() if model.chute_id in chutes)
