"""What a process is to its router: the whole of it, the parent of workers, or one of these."""

from __future__ import annotations

import secrets
import time
from dataclasses import dataclass, field, replace
from enum import Enum


class Place(Enum):
    """The place of a process among those of one router."""

    SINGLE = "single"
    PARENT = "parent"
    WORKER = "worker"


@dataclass(frozen=True, slots=True)
class Role:
    """The place of a process, and what all processes of one router must agree on.

    The parent chooses the shared values once and passes them to each worker, so that its clients
    meet the same router on every connection.
    """

    place: Place
    pseudonym: bytes
    """The router's name in ``Via``. It is random, so that a chain of routers is not a loop."""
    hash_key: bytes = field(repr=False)
    """The key of the hashes that stand for clients and conversations."""
    started: int
    """When the router started, in seconds since 1970."""
    worker: int | None = None
    """The number of a worker, from 0; a replacement has that of its predecessor."""

    @classmethod
    def first(cls, hash_key: bytes | None, place: Place = Place.SINGLE) -> Role:
        """Return the role of the first process of a router, with new shared values.

        Without a ``hash_key`` (``STICKY_HASH_KEY``) the key is random.
        """
        return cls(
            place,
            b"chutes-autopilot-%b" % secrets.token_hex(8).encode("ascii"),
            hash_key or secrets.token_bytes(32),
            int(time.time()),
        )

    def of_worker(self, number: int) -> Role:
        """Return the role of a worker of the same router."""
        return replace(self, place=Place.WORKER, worker=number)
