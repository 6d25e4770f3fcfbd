"""The control plane that a process of the router has, by its role."""

from __future__ import annotations

import random
import time
from typing import TYPE_CHECKING, Any

from autopilot.feeds.received_snapshots import ReceivedSnapshots
from autopilot.feeds.snapshot_service import SnapshotService
from autopilot.http.fetch import Fetcher
from autopilot.wiring.role import Place

if TYPE_CHECKING:
    from collections.abc import Callable

    from twisted.web.iweb import IAgent

    from autopilot.feeds.control_plane import ControlPlane
    from autopilot.process.hold_watch import Activity
    from autopilot.settings import Settings


def control_plane(
    place: Place,
    settings: Settings,
    reactor: Any,
    agent: IAgent,
    observed: Callable[[str, str, int], None],
    activity: Activity,
) -> ControlPlane:
    """Return what keeps the snapshot of this process current.

    ``observed`` is called after each refresh, except in a worker: its parent counts and logs the
    refreshes, which are the same for all.
    """
    if place is Place.WORKER:
        return ReceivedSnapshots(reactor, time.time, activity)
    fetcher = Fetcher(agent, reactor, settings.control_plane_timeout_ms / 1000)
    return SnapshotService(
        reactor,
        lambda: fetcher.get(settings.models_url),
        lambda: fetcher.get(settings.utilization_url),
        settings.models_refresh_ms / 1000,
        settings.utilization_refresh_ms / 1000,
        jitter,
        observed,
        time.time,
        activity,
        keeps_bodies=place is Place.PARENT,
    )


def jitter() -> float:
    """Return a number in -1..1, by which routers that started together spread their polls."""
    return random.uniform(-1.0, 1.0)  # noqa: S311  not a secret
