"""A board of numbers in shared memory: what each worker does, for its parent and the other workers.

Each worker has a slot, which it alone writes and all processes read. Nothing is sent and no process
is woken, so that the parent sees the current numbers with each connection that it passes on. A
number is stored and loaded whole: `memoryview` copies the eight bytes of an aligned item at once,
unlike `struct`, which writes them one by one.
"""

from __future__ import annotations

import mmap
import os
from tempfile import TemporaryFile

_FIELDS = 8  # those in use and room for more: a slot is one line of the processor's cache
_FIELD_BYTES = 8
_SLOT_BYTES = _FIELDS * _FIELD_BYTES


class Slot:
    """The numbers of one worker, all of them 0 at first.

    ``connections`` are those of clients that are open now, ``fresh`` those of them on which no
    request has arrived yet, ``requests`` the active exchanges. ``received`` counts the connections
    that the worker has received from its parent, ever. ``exhausted`` is 1 while it has no file
    descriptor for another one. ``heartbeat`` is when its reactor last ran a timer, in milliseconds
    of the monotonic clock, which is the same for all processes; 0 before the first.
    """

    __slots__ = ("_view",)

    def __init__(self, view: memoryview) -> None:
        self._view = view

    def numbers(self) -> list[int]:
        """Return the fields in their order, with those not in use behind them.

        One call for all costs the parent less than one for each field, with every connection.
        """
        return self._view.tolist()

    def clear(self) -> None:
        """Set every number to 0, for a new worker."""
        for field in range(_FIELDS):
            self._view[field] = 0

    @property
    def connections(self) -> int:
        """The open connections of clients."""
        return self._view[0]

    @connections.setter
    def connections(self, value: int) -> None:
        self._view[0] = value

    @property
    def fresh(self) -> int:
        """The open connections on which no request has arrived yet."""
        return self._view[1]

    @fresh.setter
    def fresh(self, value: int) -> None:
        self._view[1] = value

    @property
    def requests(self) -> int:
        """The active exchanges."""
        return self._view[2]

    @requests.setter
    def requests(self, value: int) -> None:
        self._view[2] = value

    @property
    def received(self) -> int:
        """The connections received from the parent so far."""
        return self._view[3]

    @received.setter
    def received(self, value: int) -> None:
        self._view[3] = value

    @property
    def exhausted(self) -> int:
        """Whether the worker has no file descriptor for another connection: 1 or 0."""
        return self._view[4]

    @exhausted.setter
    def exhausted(self, value: int) -> None:
        self._view[4] = value

    @property
    def heartbeat(self) -> int:
        """When the reactor last ran a timer, in milliseconds of the monotonic clock."""
        return self._view[5]

    @heartbeat.setter
    def heartbeat(self, value: int) -> None:
        self._view[5] = value


class Board:
    """The slots of all workers; ``descriptor`` is that of the shared memory."""

    def __init__(self, descriptor: int) -> None:
        """Map the memory behind ``descriptor``, which the board owns from now on."""
        self.descriptor = descriptor
        self._memory = mmap.mmap(descriptor, os.fstat(descriptor).st_size)
        self._view = memoryview(self._memory).cast("q")

    @classmethod
    def create(cls, slots: int) -> Board:
        """Return a new board; children inherit its descriptor and `open` it."""
        descriptor = _anonymous_file()
        os.ftruncate(descriptor, slots * _SLOT_BYTES)
        return cls(descriptor)

    @classmethod
    def open(cls, descriptor: int) -> Board:
        """Return the board that the parent has created."""
        return cls(descriptor)

    def __len__(self) -> int:
        return len(self._view) // _FIELDS

    def slot(self, index: int) -> Slot:
        """Return a slot, by its number from 0 on."""
        if not 0 <= index < len(self):
            raise IndexError(f"the board has {len(self)} slots, so none with the number {index}")
        return Slot(self._view[index * _FIELDS : (index + 1) * _FIELDS])

    def close(self) -> None:
        """Close the descriptor; the memory lives as long as a process has a slot of it."""
        if self.descriptor >= 0:
            os.close(self.descriptor)
            self.descriptor = -1


def _anonymous_file() -> int:
    if hasattr(os, "memfd_create"):
        return os.memfd_create("autopilot-board")
    with TemporaryFile() as file:  # another system than Linux
        return os.dup(file.fileno())
