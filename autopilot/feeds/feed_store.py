"""One feed in the store that replicas share: its lease, its latest publication and its body.

The lease is a key with an expiry that holds the token of the one replica that fetches the feed.
Whatever that replica writes later depends on its token in the same step of the store (a script), so
that one that was stopped in the meantime cannot overwrite what its successor published.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Annotated, Any, Final, Protocol

from msgspec import DecodeError, Meta, Raw, Struct
from msgspec.json import Decoder, encode
from msgspec.structs import replace
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime

from autopilot.feeds.reading import run_in_steps
from autopilot.feeds.shared_snapshot import FeedHead, decode_head, encode_head
from autopilot.feeds.stored_body import MAX_PIECES, packing_steps, unpacking_steps
from autopilot.process.hold_watch import Activity
from autopilot.state.sharing.store_fault import StoreRefused, StoreUnavailable

FREE: Final = b"free"
"""The message that says that the lease has been given up."""

LATE: Final = 5000
"""Milliseconds after which the store refuses a publication that it only now carries out: the age in
it is too small by them."""

_REPLACED: Final = b"15000"
"""Milliseconds for which a body stays in the store that another has replaced."""

_TAKEN: Final = -9

ACQUIRE: Final = b"""\
local holder = redis.call('get', KEYS[1])
if holder and holder ~= ARGV[1] then return redis.call('pttl', KEYS[1]) end
redis.call('set', KEYS[1], ARGV[1], 'px', ARGV[2])
return -9"""

RENEW: Final = b"""\
if redis.call('get', KEYS[1]) ~= ARGV[1] then return 0 end
return redis.call('pexpire', KEYS[1], ARGV[2])"""

RELEASE: Final = b"""\
if redis.call('get', KEYS[1]) ~= ARGV[1] then return 0 end
redis.call('del', KEYS[1])
redis.call('publish', ARGV[2], 'free')
return 1"""

PUBLISH: Final = b"""\
if redis.call('get', KEYS[1]) ~= ARGV[1] then return 0 end
local time = redis.call('time')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
if now - tonumber(ARGV[5]) > tonumber(ARGV[6]) then return 2 end
local value = string.format('%.0f', now) .. ' ' .. ARGV[2]
redis.call('set', KEYS[2], value, 'px', ARGV[3])
redis.call('publish', ARGV[4], value)
return 1"""


class SharingStore(Protocol):
    """The part of the store that feeds need, see `autopilot.state.sharing.store.Store`."""

    @property
    def available(self) -> bool:
        """Whether commands can be sent."""

    def key(self, *parts: bytes) -> bytes:
        """Return the name of a key or a channel."""

    def now(self) -> float:
        """Return the seconds since 1970 by the store's clock."""

    def when_up(self, watcher: Callable[[], None]) -> None:
        """Call ``watcher`` whenever the store has become available."""

    def subscribe(self, channel: bytes, received: Callable[[bytes], None]) -> None:
        """Hand each message of ``channel`` to ``received``."""

    def command(self, *args: bytes) -> Deferred[object]:
        """Send a command and return its reply."""


class PublicationRefused(Exception):  # noqa: N818  a state of the store, not of the program
    """A publication came too late, or is not possible in this store."""


class _Stored(Struct, frozen=True, gc=False):
    """A publication's members, which the store keeps behind the time of its own clock."""

    by: Annotated[str, Meta(max_length=64)]
    pieces: Annotated[int, Meta(ge=0, le=MAX_PIECES)]
    head: Raw


@dataclass(frozen=True, slots=True)
class Publication:
    """What a holder published: a head, whose body has so many pieces, ``at`` a time of the store.

    ``by`` is the token of the holder.
    """

    at: float
    by: str
    pieces: int
    head: FeedHead


_decoder: Final = Decoder(_Stored)


def publication_of(value: bytes) -> Publication:
    """Return the publication that a value of the store is.

    :raises ValueError: it is none, or one of a later version of the router.
    """
    time, _, rest = value.partition(b" ")
    if not time.isdigit() or len(time) > 15:
        raise ValueError("not a publication of a feed")
    try:
        stored = _decoder.decode(rest)
    except (DecodeError, RecursionError):
        raise ValueError("not a publication of a feed") from None
    return Publication(int(time) / 1000, stored.by, stored.pieces, decode_head(bytes(stored.head)))


def aged(head: FeedHead, by: float) -> FeedHead:
    """Return a head as it is so many seconds later."""

    def later(span: float | None) -> float | None:
        return None if span is None else span + by

    return replace(
        head,
        age=later(head.age),
        failing_for=later(head.failing_for),
        due_in=max(0.0, head.due_in - by),
    )


class FeedStore:
    """The operations on one feed. Each fails as `Store.command` does if the store does.

    ``scope`` tells feeds of the same name apart, as routers with other URLs have them. ``token``
    names this replica, ``lease`` is how many seconds it may hold the feed without renewing, and
    ``keep`` for how many a publication stays in the store.
    """

    def __init__(
        self,
        store: SharingStore,
        clock: IReactorTime,
        activity: Activity,
        name: str,
        scope: bytes,
        token: str,
        lease: float,
        keep: float,
    ) -> None:
        self._store = store
        self._clock = clock
        self._activity = activity
        self._name = name
        self.token = token
        """Names this replica; to be read, not written."""
        self._lease = b"%d" % (lease * 1000)
        self._keep = b"%d" % (keep * 1000)
        self._key = store.key(b"feed", name.encode("ascii"), scope)
        self._lease_key = self._key + b":lease"
        # The body published last, its version and the number of its pieces.
        self._packed: tuple[bytes, str, int] | None = None

    def listen(self, received: Callable[[bytes], None]) -> None:
        """Hand each value that a holder publishes to ``received``, and `FREE`."""
        self._store.subscribe(self._key, received)

    async def acquire(self) -> float | None:
        """Take the lease; return None, or the seconds until it expires if another has it."""
        left = await self._script(ACQUIRE, (self._lease_key,), self.token.encode(), self._lease)
        return None if left == _TAKEN else max(0, int(left)) / 1000

    async def renew(self) -> bool:
        """Hold the lease for another period; return False if it is another's by now."""
        token = self.token.encode()
        return bool(await self._script(RENEW, (self._lease_key,), token, self._lease) == 1)

    async def release(self) -> None:
        """Give the lease up, if this replica has it, and tell the others."""
        await self._script(RELEASE, (self._lease_key,), self.token.encode(), self._key)

    async def latest(self) -> bytes | None:
        """Return the value that was published last, if there is one."""
        value = await self._store.command(b"GET", self._key)
        return value if isinstance(value, bytes) else None

    async def publish(self, current: Callable[[], tuple[FeedHead, bytes | None]]) -> bool:
        """Publish a feed; return False if this replica does not hold it any more.

        ``current`` returns it; its age is that of the moment in which it is sent.

        :raises PublicationRefused: it came too late to the store.
        """
        before = self._packed
        while True:
            _, body = current()
            version, pieces = ("", 0) if body is None else await self._stored(body)
            head, latest = current()
            if latest is body:  # else it was refreshed in the meantime
                break
        head = replace(head, version=version, size=0 if body is None else len(body))
        stored = _Stored(self.token, pieces, Raw(encode_head(head)))
        done = await self._script(
            PUBLISH,
            (self._lease_key, self._key),
            self.token.encode(),
            encode(stored),
            self._keep,
            self._key,
            b"%d" % (self._store.now() * 1000),
            b"%d" % LATE,
        )
        if done == 2:
            raise PublicationRefused("the store carried it out too late")
        if done == 1 and before is not None and before[1] != version:
            await self._expire(before[1], before[2])
        return bool(done == 1)

    async def body(self, publication: Publication) -> bytes | None:
        """Return the body of a publication, or None if the store does not have it any more.

        :raises ValueError: what the store has is not that body.
        """
        version = publication.head.version
        pieces: list[bytes] = []
        for number in range(publication.pieces):
            piece = await self._store.command(b"GET", self._piece_key(version, number))
            if not isinstance(piece, bytes):
                return None
            pieces.append(piece)
        steps = unpacking_steps(pieces, version, publication.head.size)
        return await run_in_steps(
            self._clock, self._activity, f"unpacking the {self._name} feed", steps
        )

    async def _stored(self, body: bytes) -> tuple[str, int]:
        """Put a body into the store, and return its version and the number of its pieces."""
        if self._packed is not None and self._packed[0] is body:
            _, version, count = self._packed
            if await self._kept(version, count):
                return version, count
        doing = f"packing the {self._name} feed"
        version, pieces = await run_in_steps(
            self._clock, self._activity, doing, packing_steps(body)
        )
        # One after the other, because the commands of others share the connection.
        for number, piece in enumerate(pieces):
            await self._store.command(
                b"SET", self._piece_key(version, number), piece, b"PX", self._keep
            )
        self._packed = body, version, len(pieces)
        return version, len(pieces)

    async def _expire(self, version: str, count: int) -> None:
        """Let a body go that has been replaced, once those have it who read it now."""
        with suppress(StoreUnavailable, StoreRefused):
            for number in range(count):
                await self._store.command(b"PEXPIRE", self._piece_key(version, number), _REPLACED)

    async def _kept(self, version: str, count: int) -> bool:
        """Keep a body that is in the store already; return False if a piece is gone."""
        for number in range(count):
            key = self._piece_key(version, number)
            if await self._store.command(b"PEXPIRE", key, self._keep) != 1:
                return False
        return True

    def _piece_key(self, version: str, number: int) -> bytes:
        return b"%b:%b:%d" % (self._key, version.encode(), number)

    def _script(self, script: bytes, keys: tuple[bytes, ...], *args: bytes) -> Deferred[Any]:
        return self._store.command(b"EVAL", script, b"%d" % len(keys), *keys, *args)
