"""The store that a router shares state over, if its settings name one."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from autopilot.upstream.endpoints import server_endpoint
from autopilot.wiring.feeds import jitter
from autopilot.wiring.role import Place

if TYPE_CHECKING:
    from collections.abc import Callable

    from twisted.internet.defer import Deferred
    from twisted.internet.interfaces import IReactorTime

    from autopilot.observability.instruments import Instrument
    from autopilot.settings import Settings
    from autopilot.state.sharing.edge_sharing import EdgeSharing
    from autopilot.state.sharing.hub import Hub
    from autopilot.state.sharing.store import Store, StoreStatus
    from autopilot.state.sharing.store_link import LinkStatus, StoreLink

_LAST_WORDS: Final = 0.5


@dataclass(frozen=True, slots=True)
class SharedStore:
    """The store, the link over it that ``hub`` joins, and what shares the limits of keys."""

    store: Store
    link: StoreLink
    hub: Hub
    clock: IReactorTime
    edge: EdgeSharing | None = None

    def start(self) -> None:
        """Connect."""
        if self.edge is not None:
            self.edge.start()
        self.link.start()
        self.hub.join(self.link)
        self.store.start()

    def stop(self) -> Deferred[None]:
        """Disconnect once the store has what was sent to it, or after half a second."""
        self.hub.leave(self.link)
        if self.edge is not None:
            self.edge.stop()
        answered = self.store.command(b"PING").addTimeout(_LAST_WORDS, self.clock)
        return answered.addBoth(self._stopped)

    def _stopped(self, _: object) -> None:
        self.link.stop()
        self.store.stop()

    def instruments(self) -> tuple[Instrument, ...]:
        """Return the metrics."""
        return self.store.instruments() + self.link.instruments()

    def status(self) -> tuple[StoreStatus, LinkStatus]:
        """Return the present state."""
        return self.store.status(), self.link.status()


def shared_store(
    place: Place,
    settings: Settings,
    reactor: Any,
    clock: IReactorTime,
    trust: Any,
    hub: Hub | None,
    edge: Callable[[Store], EdgeSharing | None] = lambda store: None,
) -> SharedStore | None:
    """Return the store of the settings; None without one, and in a worker, whose parent has it."""
    if settings.state_url is None or place is Place.WORKER or hub is None:
        return None
    from autopilot.state.sharing.store_link import StoreLink

    store = store_of(settings, reactor, clock, trust)
    link = StoreLink(clock, store, hub, settings.sticky_ttl_secs, jitter)
    return SharedStore(store, link, hub, clock, edge(store))


def store_of(settings: Settings, reactor: Any, clock: IReactorTime, trust: Any) -> Store:
    """Return the store of the settings, not yet connected.

    hiredis is imported here, and so only where there is a store.
    """
    from autopilot.state.sharing.store import Store, StoreAccess

    named = settings.state_url
    assert named is not None and not isinstance(named, str)
    endpoint = server_endpoint(reactor, named.host, named.port, trust if named.tls else None)
    access = StoreAccess(
        named.user.encode(), named.password.encode(), named.database, named.prefix.encode()
    )
    return Store(clock, endpoint, access, jitter, time.time)
