"""What the parent assigns to a worker: its role, its settings and its place among the workers.

It travels over a pair of sockets that only these two processes have, because the settings hold
secrets, which an argument or the environment of a process would show to others.
"""

from __future__ import annotations

import pickle
from dataclasses import dataclass

from autopilot._version import __version__
from autopilot.settings import Settings
from autopilot.web.start_page import Address
from autopilot.wiring.role import Role


class AssignmentError(Exception):
    """The parent is of another version; the message is for the operator."""


@dataclass(frozen=True, slots=True)
class Assignment:
    """A worker's part of the router."""

    role: Role
    settings: Settings
    """Its share of the limits, and all else as in the settings of the router."""
    slot: int
    """The number of its slot on the board."""
    admin: tuple[Address, ...] = ()
    """Where the parent serves the operators' pages."""
    awaited: tuple[str, ...] = ()
    """The feeds that the parent has, which the worker receives before it serves."""

    def encode(self) -> bytes:
        """Return it as a payload."""
        # Pickle, because values of settings have types of many modules. The reader is the same
        # program, and the pair of sockets has no other writer.
        return b"%b\n%b" % (__version__.encode("ascii"), pickle.dumps(self))

    @classmethod
    def decode(cls, payload: bytes) -> Assignment:
        """Return the assignment of a payload.

        :raises AssignmentError: the parent is of another version, so that values may differ.
        """
        version, _, pickled = payload.partition(b"\n")
        if version != __version__.encode("ascii"):
            raise AssignmentError(
                f"The installed version is {__version__}, but that of the running router is"
                f" {version.decode('ascii', 'replace')}: restart the router, not only its workers"
            )
        assignment = pickle.loads(pickled)  # noqa: S301  see `encode`
        if not isinstance(assignment, cls):
            raise AssignmentError("The parent's assignment could not be read")
        return assignment
