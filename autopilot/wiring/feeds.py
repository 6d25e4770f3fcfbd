"""The control plane that a process of the router has, by its role."""

from __future__ import annotations

import random
import secrets
import time
from typing import TYPE_CHECKING, Any

from autopilot.feeds.polling import CATALOG, UTILIZATION
from autopilot.feeds.received_snapshots import ReceivedSnapshots
from autopilot.feeds.snapshot_service import SnapshotService
from autopilot.http.fetch import Fetcher
from autopilot.observability.instruments import Instrument, Readings
from autopilot.wiring.role import Place, Role

if TYPE_CHECKING:
    from collections.abc import Callable

    from twisted.internet.defer import Deferred
    from twisted.web.iweb import IAgent

    from autopilot.feeds.control_plane import ControlPlane
    from autopilot.feeds.feed_store import SharingStore
    from autopilot.process.hold_watch import Activity
    from autopilot.settings import Settings


def control_plane(
    role: Role,
    settings: Settings,
    reactor: Any,
    agent: IAgent,
    observed: Callable[[str, str, int], None],
    activity: Activity,
    store: SharingStore | None = None,
) -> ControlPlane:
    """Return what keeps the snapshot of this process current.

    ``observed`` is called after each refresh, except in a worker: its parent counts and logs the
    refreshes, which are the same for all. ``store`` is what replicas share, if they share anything.
    """
    if role.place is Place.WORKER:
        return ReceivedSnapshots(reactor, time.time, activity)
    fetcher = Fetcher(agent, reactor, settings.control_plane_timeout_ms / 1000)
    models_every = settings.models_refresh_ms / 1000
    utilization_every = settings.utilization_refresh_ms / 1000

    def fetch_models() -> Deferred[bytes]:
        return fetcher.get(settings.models_url)

    def fetch_utilization() -> Deferred[bytes]:
        return fetcher.get(settings.utilization_url)

    if settings.feeds == "shared" and store is not None:
        # Most routers have no use for these modules.
        from autopilot.feeds.shared_snapshots import FeedSource, SharedSnapshots

        return SharedSnapshots(
            reactor,
            store,
            {
                CATALOG: FeedSource(settings.models_url, fetch_models, models_every),
                UTILIZATION: FeedSource(
                    settings.utilization_url, fetch_utilization, utilization_every
                ),
            },
            settings.feeds_lease_ms / 1000,
            secrets.token_hex(8),
            role.hash_key,
            jitter,
            observed,
            time.time,
            activity,
        )
    return SnapshotService(
        reactor,
        fetch_models,
        fetch_utilization,
        models_every,
        utilization_every,
        jitter,
        observed,
        time.time,
        activity,
        keeps_bodies=role.place is Place.PARENT,
    )


def role_instrument(plane: ControlPlane) -> Instrument:
    """Return the metric that says what this router does for each feed."""
    return Readings(
        "chutes_autopilot_feed_role",
        "With FEEDS=shared: 1 for what the router does for a feed: holder (it fetches for all),"
        " reader, or alone (it fetches for itself).",
        ("feed", "role"),
        lambda: [((feed, role), 1.0) for feed, role in plane.roles().items()],
    )


def jitter() -> float:
    """Return a number in -1..1, by which routers that started together spread their polls."""
    return random.uniform(-1.0, 1.0)  # noqa: S311  not a secret
