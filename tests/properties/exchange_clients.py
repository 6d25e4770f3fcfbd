"""The client side of the exchange machine: connections in memory that carry requests."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from twisted.internet.error import ConnectionDone
from twisted.python.failure import Failure
from twisted.web.server import Site

from tests.properties.exchange_sight import Seen
from tests.unit.web.browsers import CHAT, Peer, request
from tests.unit.web.responses import Response, responses


class Socket(Peer):
    """The client's end of a connection; when full, it signals so at every write."""

    full = False

    def write(self, data: bytes) -> None:
        """See `ITransport`."""
        super().write(data)
        self._push_back()

    def writeSequence(self, data: Iterable[bytes]) -> None:
        """See `ITransport`."""
        super().writeSequence(data)
        self._push_back()

    def unregisterProducer(self) -> None:
        """See `IConsumer`; like a real transport, it accepts repeated calls."""
        if self.producer is not None:
            super().unregisterProducer()

    def _push_back(self) -> None:
        if self.full and self.producer is not None:
            self.producer.pauseProducing()


class Visitor:
    """One client connection, with the requests that it carried."""

    def __init__(self, site: Site) -> None:
        self.names: list[str] = []
        self.lost = False
        self.peer = Socket()
        self.protocol: Any = site.buildProtocol(None)
        self.protocol.makeConnection(self.peer)

    @property
    def waits(self) -> bool:
        """Whether the client has stopped reading."""
        return self.peer.full

    @property
    def gone(self) -> bool:
        """Whether either side has closed the connection."""
        return self.lost or bool(self.peer.disconnecting)

    @property
    def producer(self) -> object:
        """The producer that is paused when the client stops reading."""
        return getattr(self.protocol, "_channel", self.protocol)._requestProducer

    def asks(self, name: str, selector: str, *, streams: bool, commit: str, size: int) -> None:
        """Send a request whose body has ``size`` bytes besides the selector."""
        self.names.append(name)
        members = {"model": selector, "stream": streams, "user": name, "pad": ""}
        members["pad"] = "x" * (size + len(json.dumps(selector)) - len(json.dumps(members)))
        fields = (b"X-Request-Id: " + name.encode(), b"X-Autopilot-Commit: " + commit.encode())
        body = json.dumps(members).encode()
        self.protocol.dataReceived(request(CHAT, *fields, body=body))

    def holds_up(self, waits: bool) -> None:
        """Stop or resume reading."""
        self.peer.full = waits
        producer: Any = self.peer.producer
        (producer.pauseProducing if waits else producer.resumeProducing)()

    def loses(self) -> None:
        """Lose the connection."""
        if not self.lost:
            self.lost = True
            self.protocol.connectionLost(Failure(ConnectionDone()))

    def sees(self, name: str, *, refused: bool) -> Seen | None:
        """Return the received part of a response; ``refused``: the router created it."""
        got, place = responses(bytes(self.peer.value())), self.names.index(name)
        return self._seen(got[place], refused=refused) if len(got) > place else None

    def _seen(self, response: Response, *, refused: bool) -> Seen:
        return Seen(
            response.status,
            response.body,
            "clean" if response.whole else "cut" if self.gone else "open",
            response.error[2] if refused else None,
            response.value(b"x-chutes-autopilot-selected"),
            response.value(b"x-chutes-autopilot-attempts"),
        )
