"""A Redis server in memory, with as many commands as the router uses, and faults on request."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any

import hiredis
from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.error import ConnectionAborted, ConnectionLost, ConnectionRefusedError
from twisted.internet.interfaces import (
    IProtocol,
    IProtocolFactory,
    IStreamClientEndpoint,
    ITCPTransport,
)
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from zope.interface import implementer

from autopilot.state.sharing.edge_sharing import SWAP

_NOTHING = object()
_WRITES = frozenset({b"SET", b"HSET", b"PEXPIRE", b"DEL"})
_NEEDS_MEMORY = frozenset({b"SET", b"HSET"})
_NO_AUTH = b"-NOAUTH Authentication required.\r\n"


def _unknown(name: bytes, args: Sequence[bytes]) -> bytes:
    return b"-ERR unknown command '%b', with args beginning with: %b\r\n" % (name, b" ".join(args))


def bulk(value: bytes | None) -> bytes:
    """Return a bulk string."""
    return b"$-1\r\n" if value is None else b"$%d\r\n%b\r\n" % (len(value), value)


def array(items: Sequence[bytes]) -> bytes:
    """Return an array of replies."""
    return b"*%d\r\n%b" % (len(items), b"".join(items))


@implementer(ITCPTransport)
class Client(StringTransport):
    """The server's side of one connection: commands arrive, replies leave in a later turn."""

    def __init__(self, server: Server, protocol: IProtocol) -> None:
        super().__init__()
        self._server = server
        self.protocol = protocol
        self._reader = hiredis.Reader(notEnoughData=_NOTHING)
        self.authenticated = server.password is None
        self.database = 0
        self.channels: set[bytes] = set()
        self.lost = False

    def write(self, data: bytes) -> None:
        """See `ITransport`."""
        self._reader.feed(data)
        while (command := self._reader.gets()) is not _NOTHING:
            self._server.take(self, command)

    def getTcpKeepAlive(self) -> bool:
        """See `ITCPTransport`."""
        return False

    def setTcpKeepAlive(self, enabled: bool) -> None:
        """See `ITCPTransport`."""

    def getTcpNoDelay(self) -> bool:
        """See `ITCPTransport`."""
        return True

    def setTcpNoDelay(self, enabled: bool) -> None:
        """See `ITCPTransport`."""

    def loseWriteConnection(self) -> None:
        """See `ITCPTransport`."""

    def reply(self, data: bytes) -> None:
        """Send bytes in a later turn."""
        self._server.clock.callLater(0, self._deliver, data)

    def _deliver(self, data: bytes) -> None:
        if not self.lost:
            self.protocol.dataReceived(data)

    def abortConnection(self) -> None:
        """See `ITCPTransport`."""
        self._server.clock.callLater(0, self.lose, ConnectionAborted())

    def loseConnection(self) -> None:
        """See `ITransport`."""
        self.abortConnection()

    def lose(self, reason: Exception) -> None:
        """End the connection."""
        if not self.lost:
            self.lost = True
            self._server.clients.discard(self)
            self.protocol.connectionLost(Failure(reason))


@implementer(IStreamClientEndpoint)
class Server:
    """The server, and the endpoint that leads to it.

    ``refused``: connections fail. ``hanging``: connections neither succeed nor fail. ``paused``:
    commands wait until `resume`. ``errors``: the error replies of commands by name. ``full`` and
    ``read_only``: as with ``maxmemory``, and on a replica.
    """

    def __init__(self, clock: Clock, password: bytes | None = None, user: bytes = b"") -> None:
        self.clock = clock
        self.password = password
        self.user = user
        self.clients: set[Client] = set()
        self.waiting: list[tuple[Client, Sequence[bytes]]] = []
        self.commands: list[tuple[bytes, ...]] = []
        self.values: dict[bytes, bytes] = {}
        self.hashes: dict[bytes, dict[bytes, bytes]] = defaultdict(dict)
        self.expiries: dict[bytes, int] = {}
        self.errors: dict[bytes, bytes] = {}
        self.refused = self.hanging = self.paused = self.full = self.read_only = False
        self.connected = 0
        self.ahead = 1000.0

    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[IProtocol]:
        """See `IStreamClientEndpoint`."""
        if self.refused:
            return fail(ConnectionRefusedError())
        if self.hanging:
            return Deferred()
        protocol = protocolFactory.buildProtocol(IPv4Address("TCP", "192.0.2.1", 6379))
        assert protocol is not None
        self.connected += 1
        client = Client(self, protocol)
        self.clients.add(client)
        protocol.makeConnection(client)
        return succeed(protocol)

    def cut(self) -> None:
        """End all connections."""
        for client in list(self.clients):
            client.lose(ConnectionLost())

    def lose_data(self) -> None:
        """Forget everything, as a restart without a file does."""
        self.values.clear()
        self.hashes.clear()
        self.expiries.clear()

    def resume(self) -> None:
        """Execute what waited for the end of a pause."""
        self.paused = False
        waiting, self.waiting = self.waiting, []
        for client, command in waiting:
            self.take(client, command)

    def take(self, client: Client, command: Sequence[bytes]) -> None:
        """Execute a command, or keep it during a pause."""
        if self.paused:
            self.waiting.append((client, command))
            return
        name, *args = command
        self.commands.append(tuple(command))
        answer = self._refusal(client, name)
        client.reply(self._execute(client, name, args) if answer is None else answer)

    def sent(self, name: bytes) -> list[tuple[bytes, ...]]:
        """Return the commands of a name, without it."""
        return [args for each, *args in self.commands if each == name]  # type: ignore[misc]

    def publish(self, channel: bytes, message: bytes) -> int:
        """Send a message to those who subscribed."""
        listening = [each for each in self.clients if channel in each.channels]
        for each in listening:
            each.reply(array([bulk(b"message"), bulk(channel), bulk(message)]))
        return len(listening)

    def _refusal(self, client: Client, name: bytes) -> bytes | None:
        if not client.authenticated and name != b"AUTH":
            return _NO_AUTH
        if name in self.errors:
            return b"-%b\r\n" % self.errors[name]
        if self.read_only and name in _WRITES:
            return b"-READONLY You can't write against a read only replica.\r\n"
        if self.full and name in _NEEDS_MEMORY:
            return b"-OOM command not allowed when used memory > 'maxmemory'.\r\n"
        return None

    def _execute(self, client: Client, name: bytes, args: Sequence[bytes]) -> bytes:
        method: Callable[..., bytes] | None = getattr(self, f"_{name.decode().lower()}", None)
        if method is None:
            return _unknown(name, args)
        return method(client, *args)

    def _auth(self, client: Client, *given: bytes) -> bytes:
        user, password = given if len(given) == 2 else (b"", *given)
        if (user, password) != (self.user, self.password):
            return b"-WRONGPASS invalid username-password pair or user is disabled.\r\n"
        client.authenticated = True
        return b"+OK\r\n"

    def _select(self, client: Client, database: bytes) -> bytes:
        if int(database) > 15:
            return b"-ERR DB index is out of range\r\n"
        client.database = int(database)
        return b"+OK\r\n"

    def _ping(self, client: Client) -> bytes:
        return array([bulk(b"pong"), bulk(b"")]) if client.channels else b"+PONG\r\n"

    def _time(self, _: Client) -> bytes:
        now = self.ahead + self.clock.seconds()
        return array([bulk(b"%d" % now), bulk(b"%d" % (now % 1 * 1e6))])

    def _set(self, _: Client, key: bytes, value: bytes, *options: bytes) -> bytes:
        if b"NX" in options and key in self.values:
            return bulk(None)
        self.values[key] = value
        return b"+OK\r\n"

    def _eval(self, client: Client, *args: bytes) -> bytes:
        if args[0] != SWAP:
            return _unknown(b"EVAL", args)
        _script, _count, key, expected, value, milliseconds = args
        found = self.values.get(key, b"")
        if found != expected:
            return bulk(found)
        self.expiries[key] = int(milliseconds)
        self._set(client, key, value)
        return b":1\r\n"

    def _get(self, _: Client, key: bytes) -> bytes:
        return bulk(self.values.get(key))

    def _hincrby(self, client: Client, key: bytes, name: bytes, number: bytes) -> bytes:
        total = int(self.hashes[key].get(name, b"0")) + int(number)
        self.hashes[key][name] = b"%d" % total
        return b":%d\r\n" % total

    def _hgetall(self, client: Client, key: bytes) -> bytes:
        return array([bulk(each) for pair in self.hashes[key].items() for each in pair])

    def _hset(self, _: Client, key: bytes, *pairs: bytes) -> bytes:
        found = self.hashes[key]
        before = len(found)
        found.update(zip(pairs[::2], pairs[1::2], strict=True))
        return b":%d\r\n" % (len(found) - before)

    def _hlen(self, _: Client, key: bytes) -> bytes:
        return b":%d\r\n" % len(self.hashes.get(key, ()))

    def _hscan(self, _: Client, key: bytes, cursor: bytes, _count: bytes, number: bytes) -> bytes:
        items = list(self.hashes.get(key, {}).items())
        start, end = int(cursor), int(cursor) + int(number)
        following = b"%d" % (end if end < len(items) else 0)
        pairs: list[Any] = [bulk(each) for pair in items[start:end] for each in pair]
        return array([bulk(following), array(pairs)])

    def _pexpire(self, _: Client, key: bytes, milliseconds: bytes) -> bytes:
        self.expiries[key] = int(milliseconds)
        return b":1\r\n"

    def _publish(self, _: Client, channel: bytes, message: bytes) -> bytes:
        return b":%d\r\n" % self.publish(channel, message)

    def _subscribe(self, client: Client, channel: bytes) -> bytes:
        client.channels.add(channel)
        return array([bulk(b"subscribe"), bulk(channel), b":%d\r\n" % len(client.channels)])
