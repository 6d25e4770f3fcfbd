"""Frames between the parent and a worker: immutable values that are too large for AMP.

A frame is a length of four bytes, a byte for its kind, and the payload, over a stream socket that
both processes have inherited.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import IntEnum
from struct import Struct
from typing import Final

from twisted.internet.protocol import Protocol
from twisted.logger import Logger
from twisted.python.failure import Failure

MAX_PAYLOAD: Final = (16 << 20) + (64 << 10)
"""The bytes of the largest body of a feed, and room for what is sent with it."""

_HEAD: Final = Struct("!IB")  # the length counts the kind and the payload


class Kind(IntEnum):
    """What a frame holds."""

    SETTINGS = 1
    """To a worker: its role and settings, at its start and after each reload."""
    FEED = 2
    """To a worker: a feed as it was fetched."""
    STATE = 3
    """To a worker that has started: what the router has learned so far."""
    REPORT = 4
    """To a worker: a request for its report; to the parent: the report."""
    PAGE = 5
    """To the parent: a request for a page; to a worker: the page."""
    PRIVATE = 6
    """Both ways: what private mode's instances ask and answer."""


Handler = Callable[[bytes], None]


class Frames(Protocol):
    """One end of a stream of frames.

    ``lost`` is called once the stream has ended. A frame of a kind without a handler is ignored, as
    the other process may be of a later version.
    """

    _log = Logger()

    def __init__(self, lost: Callable[[], None] | None = None) -> None:
        self._lost = lost
        self._handlers: dict[int, Handler] = {}
        # Pieces are joined once a frame is whole: to append each to the bytes before it would copy
        # a body of 16 MiB hundreds of times.
        self._pieces: list[bytes] = []
        self._held = 0
        self._wanted = _HEAD.size

    def on(self, kind: Kind, handler: Handler) -> None:
        """Call ``handler`` with the payload of each frame of this kind."""
        self._handlers[kind] = handler

    def send(self, kind: Kind, payload: bytes) -> None:
        """Send a frame, unless the stream has ended.

        :raises ValueError: the payload is longer than `MAX_PAYLOAD`.
        """
        if len(payload) > MAX_PAYLOAD:
            raise ValueError(f"a frame holds {MAX_PAYLOAD} bytes, not {len(payload)}")
        if self.transport is not None and self.connected:
            # Two writes, because joining would copy the payload for each worker.
            self.transport.write(_HEAD.pack(len(payload) + 1, kind))
            self.transport.write(payload)

    def dataReceived(self, data: bytes) -> None:
        """See `Protocol`."""
        self._pieces.append(data)
        self._held += len(data)
        if self._held < self._wanted:
            return
        buffer = b"".join(self._pieces)
        position = 0
        while True:
            if len(buffer) - position < _HEAD.size:
                self._wanted = _HEAD.size
                break
            length, kind = _HEAD.unpack_from(buffer, position)
            if not 0 < length <= MAX_PAYLOAD + 1:
                self._log.error("The other process sent a frame of {length} bytes", length=length)
                self._pieces, self._held = [], 0
                assert self.transport is not None
                self.transport.loseConnection()
                return
            end = position + _HEAD.size + length - 1
            if len(buffer) < end:
                self._wanted = end - position
                break
            self._handle(kind, buffer[position + _HEAD.size : end])
            position = end
        rest = buffer[position:]
        self._pieces, self._held = ([rest] if rest else []), len(rest)

    def _handle(self, kind: int, payload: bytes) -> None:
        handler = self._handlers.get(kind)
        if handler is None:
            return
        try:
            handler(payload)
        except Exception:  # noqa: BLE001  one bad frame must not end the stream
            self._log.failure("A frame could not be handled", failure=Failure())

    def connectionLost(self, reason: Failure | None = None) -> None:
        """See `Protocol`."""
        lost, self._lost = self._lost, None
        self._pieces, self._held = [], 0
        if lost is not None:
            lost()
