"""Events of the tables as bytes, and what is refused."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from msgspec import Struct, msgpack, structs
from twisted.trial.unittest import SynchronousTestCase

from autopilot.state.events import (
    FORMAT,
    KINDS,
    MAX_BATCH_BYTES,
    Event,
    Failed,
    Measured,
    Probing,
    Stuck,
    Succeeded,
    Unstuck,
    decode,
    encode,
    kinds_of,
    size,
)

CLIENT, SELECTOR, TALK = b"c" * 16, b"s" * 16, b"t" * 16
VERSION = (2**53, 2**63 - 1)

ALL: tuple[Event, ...] = (
    Stuck(VERSION, 5, CLIENT, SELECTOR, TALK, "m"),
    Unstuck(VERSION, 5, CLIENT, SELECTOR, b"", "m", 20, True),
    Failed(VERSION, 5, CLIENT, "m", 20, SELECTOR, TALK, False),
    Succeeded(VERSION, 5, CLIENT, "m"),
    Measured(VERSION, 5, "m", (500_000, 20), None, (1, 2, 3, 4), (), 200, (7, 1)),
    Probing(VERSION, 5, "m", 20_000, b"", True),
)

_NAMES = st.text("a/-é\N{GRINNING FACE}", min_size=1, max_size=256)


def _changed(event: Event, position: int, value: object) -> bytes:
    """Return a batch with one event, of which one field is another."""
    fields = msgpack.decode(msgpack.encode(event))
    fields[position] = value
    return msgpack.encode([FORMAT, fields])


class EventsTests(SynchronousTestCase):
    """Batches."""

    def test_round_trip(self) -> None:
        """Every kind survives, in one batch, in its order."""
        (batch,) = encode(ALL)
        self.assertEqual(decode(batch), list(ALL))
        self.assertEqual(size(batch), len(ALL))
        self.assertEqual(kinds_of(ALL), dict.fromkeys(KINDS, 1))
        self.assertEqual(encode(()), [])

    def test_kinds_are_complete(self) -> None:
        """The names, of which metrics have a series each, are those of the classes."""
        self.assertEqual([each.kind for each in ALL], list(KINDS))

    @given(st.lists(st.builds(Succeeded, st.just(VERSION), st.just(0), st.just(CLIENT), _NAMES)))
    def test_any_names(self, events: list[Event]) -> None:
        """Names of any characters survive."""
        self.assertEqual([each for batch in encode(events) for each in decode(batch)], events)

    def test_pieces(self) -> None:
        """Many events make several batches, each below the limit of an AMP value."""
        events = [structs.replace(ALL[0], model="m" * 200, age=each) for each in range(2000)]
        batches = encode(events)
        self.assertGreater(len(batches), 5)
        self.assertLessEqual(max(map(len, batches)), MAX_BATCH_BYTES)
        self.assertEqual([each for batch in batches for each in decode(batch)], events)

    def test_an_event_that_is_too_large(self) -> None:
        """It is refused, as no batch could hold it."""
        with self.assertRaisesRegex(ValueError, "an event has 6.... bytes"):
            encode([structs.replace(ALL[3], model="m" * 65_000)])

    def test_not_a_batch(self) -> None:
        """Other bytes are refused, whole or cut anywhere."""
        (batch,) = encode(ALL)
        for cut in range(len(batch)):
            with self.assertRaises(ValueError):
                decode(batch[:cut])
        for odd in (batch + b"\x00", b"\x90", b"\x91\x00", b"\x91\xc0", b"{}", b"\x91" * 100_000):
            with self.assertRaises(ValueError):
                decode(odd)
        for odd in (b"", b"{}", b"\x91" * 100_000):
            with self.assertRaises(ValueError):
                size(odd)

    def test_odd_fields(self) -> None:
        """A field of another type, size or range spoils its batch."""
        for odd in (
            _changed(ALL[0], 1, [-1, 1]),
            _changed(ALL[0], 1, [2**53 + 1, 1]),
            _changed(ALL[0], 1, [1, 2**63]),
            _changed(ALL[0], 1, [1]),
            _changed(ALL[0], 2, -1),
            _changed(ALL[0], 2, 0.5),
            _changed(ALL[0], 2, float("nan")),
            _changed(ALL[0], 3, b"c" * 15),
            _changed(ALL[0], 3, b"c" * 17),
            _changed(ALL[0], 3, "c" * 16),
            _changed(ALL[0], 5, b"t" * 17),
            _changed(ALL[0], 6, ""),
            _changed(ALL[0], 6, "m" * 257),
            _changed(ALL[0], 6, None),
            _changed(ALL[4], 6, [1, 2, 3]),
            _changed(ALL[4], 6, [1] * 514),
            _changed(ALL[0], 0, 99),
            _changed(ALL[0], 0, "stuck"),
        ):
            with self.assertRaises(ValueError):
                decode(odd)

    def test_a_later_format(self) -> None:
        """Its kinds are skipped, its additional fields ignored; what is known stays checked."""
        known = [*msgpack.decode(msgpack.encode(ALL[3])), "new"]
        later = msgpack.encode([FORMAT + 1, [99, "new"], known])
        self.assertEqual(decode(later), [ALL[3]])
        for odd in ([FORMAT + 1, 99], [FORMAT + 1, []], [FORMAT + 1, [3, "x"]]):
            with self.assertRaises(ValueError):
                decode(msgpack.encode(odd))

    def test_immutable(self) -> None:
        """Events are values, which many tables may hold, and which cannot be in a cycle."""
        for each in ALL:
            self.assertIsInstance(each, Struct)
            with self.assertRaises(AttributeError):
                each.age = 1  # type: ignore[misc]
