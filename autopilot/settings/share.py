"""What each of several workers gets of the limits that hold for the router as a whole."""

from __future__ import annotations

from dataclasses import replace

from autopilot.settings.schema import MOST_WORKERS, Settings
from autopilot.settings.types import AUTO


def number_of_workers(settings: Settings, cores: int) -> int:
    """Return how many workers there are on ``cores``, each with a request of its own at least."""
    wanted = cores if settings.workers == AUTO else int(settings.workers)
    return max(1, min(wanted, MOST_WORKERS, settings.max_concurrent_requests))


def share(settings: Settings, index: int, workers: int) -> Settings:
    """Return the settings of worker ``index``, counted from 0, of ``workers``.

    Requests, bytes and idle connections of all workers together are exactly those of ``settings``,
    with one exception: each worker may hold one body of the largest size that a client may send.
    """

    def part(whole: int) -> int:
        return whole // workers + (index < whole % workers)

    one_body = min(settings.max_request_bytes, settings.max_buffered_bytes)
    return replace(
        settings,
        max_concurrent_requests=part(settings.max_concurrent_requests),
        max_buffered_bytes=max(one_body, part(settings.max_buffered_bytes)),
        upstream_pool_size=part(settings.upstream_pool_size),
    )
