"""What a client may send and how long it may take; apart, because site and reader both go by it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    """Times in seconds, sizes in bytes.

    ``head_timeout`` runs from the connection or a head's first byte to its end, ``body_timeout``
    from there to the end of the body, ``idle_timeout`` between two requests; ``flush_timeout`` is
    how long a closing connection waits for a client to take what was written.
    """

    head_timeout: float = 10.0
    body_timeout: float = 60.0
    idle_timeout: float = 75.0
    flush_timeout: float = 60.0
    head_bytes: int = 65536
    head_fields: int = 100
    body_bytes: int = 33554432
