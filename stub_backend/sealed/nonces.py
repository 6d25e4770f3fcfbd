"""The nonces of end-to-end encrypted calls: each is for one caller, chute, instance and call."""

from __future__ import annotations

import hashlib
from base64 import urlsafe_b64encode
from dataclasses import dataclass

ISSUED = 10
STATED_SECONDS = 60
LAST_SECONDS = 75
"""How long the platform takes a nonce, which is longer than it states."""


@dataclass(frozen=True, slots=True)
class Purpose:
    """What a nonce is for."""

    user: str
    chute: str
    instance: str


class Nonces:
    """The issued and unused nonces."""

    def __init__(self) -> None:
        self._unused: dict[str, tuple[Purpose, float]] = {}
        self._issued = 0

    def issue(self, purpose: Purpose, now: float) -> list[str]:
        """Return new nonces of one instance."""
        nonces = [self._next(purpose) for _ in range(ISSUED)]
        self._unused.update(dict.fromkeys(nonces, (purpose, now + LAST_SECONDS)))
        return nonces

    def consume(self, nonce: str, purpose: Purpose, now: float) -> bool:
        """Use a nonce up, and return whether it was valid. It is used up in any case."""
        issued, until = self._unused.pop(nonce, (None, now))
        return issued == purpose and now < until

    def clear(self) -> None:
        """Make every nonce invalid."""
        self._unused.clear()

    def _next(self, purpose: Purpose) -> str:
        self._issued += 1
        seed = f"{purpose.instance}/{self._issued}"
        return urlsafe_b64encode(hashlib.sha256(seed.encode()).digest()[:24]).decode()
