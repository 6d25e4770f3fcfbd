"""What the processes of a router tell each other of the keys of their pools: which one rests.

The process whose request was refused tells the parent, and that the other workers; a new worker
learns of all rests that stand. Bans by the edge that the governor knows are not among them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final, Literal, Protocol

from msgspec import DecodeError, Struct, msgpack

Why = Literal["quota", "edge", "invalid"]


class Rest(Struct, frozen=True, array_like=True):
    """The key of an account, which its hash stands for, rests for so many seconds from now on."""

    account: bytes
    why: Why
    seconds: float


class Resting(Protocol):
    """The pool of a process."""

    def rests(self) -> Iterable[Rest]:
        """Return the rests that stand."""

    def heard(self, rest: Rest) -> None:
        """Let a key rest that another process has found to be refused."""


class Peer(Protocol):
    """Another process of the router."""

    def send(self, report: bytes) -> None:
        """Send a report; never block or raise."""


_AT_ONCE: Final = 200
"""Rests in a report: an AMP value has at most 65,535 bytes."""

_encode = msgpack.Encoder().encode
_decode = msgpack.Decoder(list[Rest]).decode


class KeyRests:
    """Passes on what this process and its peers learn.

    ``pool`` returns that of this process, or None without keys.
    """

    def __init__(self, pool: Callable[[], Resting | None]) -> None:
        self._pool = pool
        self._peers: dict[Peer, None] = {}

    def join(self, peer: Peer, *, new: bool = False) -> None:
        """Exchange rests with a peer; a ``new`` one is sent all that stand."""
        self._peers[peer] = None
        pool = self._pool()
        rests = list(pool.rests()) if new and pool is not None else []
        for start in range(0, len(rests), _AT_ONCE):
            peer.send(_encode(rests[start : start + _AT_ONCE]))

    def leave(self, peer: Peer) -> None:
        """Forget a peer that has ended; what it found stays."""
        self._peers.pop(peer, None)

    def told(self, rest: Rest) -> None:
        """Tell all peers that a request of this process was refused."""
        self._pass_on(_encode([rest]), None)

    def received(self, data: bytes, peer: Peer) -> None:
        """Take what a peer reports.

        :raises ValueError: these bytes are no report.
        """
        try:
            rests = _decode(data)
        except (DecodeError, RecursionError) as error:
            raise ValueError(f"not a report of rests: {error}") from None
        pool = self._pool()
        for rest in rests:
            if pool is not None:
                pool.heard(rest)
        self._pass_on(data, peer)

    def _pass_on(self, report: bytes, source: Peer | None) -> None:
        for peer in self._peers:
            if peer is not source:
                peer.send(report)
