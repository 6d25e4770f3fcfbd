"""What replicas tell each other of their tables: small events with versions, and their encoding.

An event says what happened to a model, a client or a conversation. Applied in any order, twice or
by another path, the same events lead to the same tables, because the later version counts and never
the later arrival. Versions are those of a Lamport clock: an event that was made by a replica that
knew of another event has the later version. Times are ages and durations, never times of day, so
that no two clocks have to agree.

Clients and conversations are the keyed hashes of the tables; an event contains no token, address,
prompt or session id.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Annotated, ClassVar, Final, TypeAlias

from msgspec import DecodeError, Meta, Raw, Struct, msgpack

FORMAT: Final = 1
"""Of a batch. A later format may add kinds of events, and fields at the end of an event."""
MAX_BATCH_BYTES: Final = 60_000
"""An AMP value has at most 65,535 bytes."""
MAX_NAME_LENGTH: Final = 256
"""Characters; a model with a longer name is in no event."""

_MOST = 2**53
Replica: TypeAlias = Annotated[int, Meta(ge=0, le=2**63 - 1)]
"""A process's random number."""
Version: TypeAlias = tuple[Annotated[int, Meta(ge=0, le=_MOST)], Replica]
"""A Lamport counter, and the replica that made the event."""
NEVER: Final[Version] = (0, 0)

Milliseconds: TypeAlias = Annotated[int, Meta(ge=0, le=_MOST)]
Count: TypeAlias = Annotated[int, Meta(ge=0, le=_MOST)]
Digest: TypeAlias = Annotated[bytes, Meta(min_length=16, max_length=16)]
MaybeDigest: TypeAlias = Annotated[bytes, Meta(max_length=16)]
"""A digest, or nothing."""
Name: TypeAlias = Annotated[str, Meta(min_length=1, max_length=MAX_NAME_LENGTH)]
Histogram: TypeAlias = Annotated[tuple[Count, ...], Meta(max_length=512)]
"""Bucket and number, bucket and number, …"""
Average: TypeAlias = tuple[Count, Milliseconds]
"""An average, in millionths, and the age of its last sample."""


class _Event(Struct, frozen=True, gc=False, array_like=True):
    """``age``: the time since it happened, of which that on its way is not a part."""

    kind: ClassVar[str]

    version: Version
    age: Milliseconds


class Stuck(_Event, frozen=True, gc=False, array_like=True, tag=1):
    """A conversation's model answered with a 2xx: the conversation goes to it from now on."""

    kind: ClassVar[str] = "stuck"

    client: Digest
    selector: Digest
    conversation: MaybeDigest
    model: Name


class Unstuck(_Event, frozen=True, gc=False, array_like=True, tag=2):
    """A model failed a conversation after ``took``, in a way that says nothing against the model.

    ``committed``: after the router had committed to its response.
    """

    kind: ClassVar[str] = "unstuck"

    client: Digest
    selector: Digest
    conversation: MaybeDigest
    model: Name
    took: Milliseconds
    committed: bool


class Failed(_Event, frozen=True, gc=False, array_like=True, tag=3):
    """A model failed a client after ``took``.

    ``selector`` is empty if no conversation was to stick to a model. Otherwise the event says what
    `Unstuck` says, too, so that a failed attempt is one event.
    """

    kind: ClassVar[str] = "failed"

    client: Digest
    model: Name
    took: Milliseconds
    selector: MaybeDigest
    conversation: MaybeDigest
    committed: bool


class Succeeded(_Event, frozen=True, gc=False, array_like=True, tag=4):
    """A model that had failed answered a client."""

    kind: ClassVar[str] = "succeeded"

    client: Digest
    model: Name


class Measured(_Event, frozen=True, gc=False, array_like=True, tag=5):
    """What one replica has measured of a model: the whole, not what is new.

    The averages are the seconds to the first content, and tokens per second. ``streams`` and
    ``plain`` count answers by time, ``pauses`` all pauses, and ``long`` those above a tenth of a
    second by length.
    """

    kind: ClassVar[str] = "measured"

    model: Name
    first_content: Average | None
    throughput: Average | None
    streams: Histogram
    plain: Histogram
    pauses: Count
    long: Histogram

    def __post_init__(self) -> None:
        """Refuse a bucket without a number."""
        if len(self.streams) % 2 or len(self.plain) % 2 or len(self.long) % 2:
            raise ValueError("a bucket of a histogram has no number")


class Probing(_Event, frozen=True, gc=False, array_like=True, tag=6):
    """A replica probes a model: the others are to wait for ``period``.

    ``client`` is the one whose own breaker was due, or empty; ``shared``: that of all was due.
    """

    kind: ClassVar[str] = "probing"

    model: Name
    period: Milliseconds
    client: MaybeDigest
    shared: bool


Event: TypeAlias = Stuck | Unstuck | Failed | Succeeded | Measured | Probing

KINDS: Final = ("stuck", "unstuck", "failed", "succeeded", "measured", "probing")

_LATEST_TAG = 6
_encode = msgpack.Encoder().encode
_parts = msgpack.Decoder(list[Raw]).decode
_number: Callable[[Raw], int] = msgpack.Decoder(Annotated[int, Meta(ge=1)]).decode
_event: msgpack.Decoder[Event] = msgpack.Decoder(Event)


def encode(events: Sequence[Event]) -> list[bytes]:
    """Return the events in as many batches as the largest size requires.

    :raises ValueError: one event is too large for a batch.
    """
    if not events:
        return []
    batch = _encode([FORMAT, *events])
    if len(batch) <= MAX_BATCH_BYTES:
        return [batch]
    if len(events) == 1:
        raise ValueError(f"an event has {len(batch)} bytes, more than {MAX_BATCH_BYTES}")
    half = len(events) // 2
    return encode(events[:half]) + encode(events[half:])


def decode(batch: bytes) -> list[Event]:
    """Return the events of a batch, without those of kinds that only a later format has.

    :raises ValueError: this is not a batch, or one of its events is malformed.
    """
    try:
        written_in, *events = _parts(batch)
        later = _number(written_in) > FORMAT
        return [_event.decode(each) for each in events if not later or _is_known(each)]
    except (DecodeError, RecursionError, ValueError) as error:
        raise ValueError(f"not a batch of events: {error}") from None


def size(batch: bytes) -> int:
    """Return the number of events in a batch.

    :raises ValueError: this is not a batch.
    """
    try:
        return max(0, len(_parts(batch)) - 1)
    except (DecodeError, RecursionError) as error:
        raise ValueError(f"not a batch of events: {error}") from None


def kinds_of(events: Iterable[Event]) -> dict[str, int]:
    """Return the numbers of events by kind."""
    numbers: dict[str, int] = {}
    for event in events:
        numbers[event.kind] = numbers.get(event.kind, 0) + 1
    return numbers


def _is_known(event: Raw) -> bool:
    """Return whether this format has the kind of an event."""
    tag, *_ = _parts(event)
    return _number(tag) <= _LATEST_TAG
