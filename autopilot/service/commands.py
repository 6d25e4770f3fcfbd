"""The commands between the parent and its workers, over AMP.

What is larger than AMP's values (64 KiB) travels as frames, in `autopilot.service.frames`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

from twisted.internet.error import ConnectionDone
from twisted.logger import Logger
from twisted.protocols.amp import AMP, Boolean, Command, ListOf, String
from twisted.python.failure import Failure

_DONE = Failure(ConnectionDone())


class _Notice(Command):
    """A command that the other process does not answer."""

    arguments: ClassVar[list[tuple[bytes, Any]]] = []
    requiresAnswer = False  # noqa: N815  the name is Twisted's


class Ready(_Notice):
    """To the parent: the worker serves connections, with these feeds.

    Without ``feeds``, it has waited for them long enough.
    """

    arguments: ClassVar[list[tuple[bytes, Any]]] = [(b"feeds", ListOf(String(), optional=True))]


class Await(_Notice):
    """To a worker that is ready: read these feeds first, which the parent has by now.

    Otherwise it would refuse its first requests, although there are models for them.
    """

    arguments: ClassVar[list[tuple[bytes, Any]]] = [(b"feeds", ListOf(String()))]


class Draining(_Notice):
    """To a worker: the router has begun to stop, so that ``/readyz`` is no longer 200.

    Connections still arrive.
    """


class Drain(_Notice):
    """To a worker: no connection arrives any more; finish the requests in progress, and end.

    With ``in_haste``, as at the end of the drain time.
    """

    arguments: ClassVar[list[tuple[bytes, Any]]] = [(b"in_haste", Boolean())]


class Events(_Notice):
    """Both ways: what a process learned about models and conversations, for the others."""

    arguments: ClassVar[list[tuple[bytes, Any]]] = [(b"batch", String())]


class KeyReport(_Notice):
    """Both ways: what clients have used of the operator's own keys, for the other processes."""

    arguments: ClassVar[list[tuple[bytes, Any]]] = [(b"report", String())]


class PoolReport(_Notice):
    """Both ways: which keys of the platform rest (`autopilot.upstream.key_rests`)."""

    arguments: ClassVar[list[tuple[bytes, Any]]] = [(b"report", String())]


class EdgeNotice(_Notice):
    """Both ways: calls of keys that a worker leases, and bans (`autopilot.state.edge_notes`)."""

    arguments: ClassVar[list[tuple[bytes, Any]]] = [(b"note", String())]


class Line(AMP):
    """One end of the connection between the parent and a worker.

    ``lost`` is called once it has ended.
    """

    _log = Logger()

    def __init__(self, lost: Callable[[], None] | None = None) -> None:
        super().__init__()
        self._lost = lost
        self._handlers: dict[bytes, tuple[type[Command], Callable[..., None]]] = {}

    def on(self, command: type[Command], handler: Callable[..., None]) -> None:
        """Call ``handler`` with the arguments of each such command, named as in the command."""
        self._handlers[command.commandName] = command, handler

    def tell(self, command: type[Command], **arguments: Any) -> None:
        """Send a command without an answer, unless the connection has ended."""
        if self.boxSender is not None:
            self.callRemote(command, **arguments)

    def locateResponder(self, name: bytes) -> Callable[[Any], Any]:  # noqa: N802  Twisted's name
        """See `CommandLocator`. A command without a handler is ignored.

        What a handler raises is logged; AMP would close the connection, and so end the worker.
        """

        def respond(box: Any) -> dict[bytes, bytes]:
            command, handler = self._handlers.get(name, (None, None))
            if command is not None and handler is not None:
                try:
                    handler(**command.parseArguments(box, self))
                except Exception:  # noqa: BLE001  a bug of ours must not end the worker
                    self._log.failure("The command {name} failed", Failure(), name=command.__name__)
            return {}

        return respond

    def connectionLost(self, reason: Failure = _DONE) -> None:
        """See `Protocol`."""
        super().connectionLost(reason)
        lost, self._lost = self._lost, None
        if lost is not None:
            lost()
