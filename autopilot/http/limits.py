"""Limits on a client's request: sizes and times, shared by the site and the request parser."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    """Times in seconds, sizes in bytes (contract §11).

    ``head_timeout`` runs from the connection, or from the first byte of a further head, to the end
    of the head; ``body_timeout`` from there to the end of the body, extended for each byte that has
    arrived by its time at ``body_rate`` bytes per second; ``idle_timeout`` between two requests.
    ``flush_timeout`` is how long a closing connection waits while the client reads nothing of what
    was written.
    """

    head_timeout: float = 10.0
    body_timeout: float = 60.0
    body_rate: int = 65536
    idle_timeout: float = 75.0
    flush_timeout: float = 60.0
    head_bytes: int = 65536
    head_fields: int = 100
    body_bytes: int = 33554432
