"""The form of every input: a choice, where to cut, and the bytes themselves.

The first byte is the target's to choose by. The second says how many cuts follow, two bytes each;
255 of them stands for single bytes. The rest is what is sent. Nothing is malformed, so that no
mutation is wasted.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from tests.unit.relay.chunks import cut

_MOST_CUTS = 5
_SINGLE_BYTES = 255
# Longer inputs are cut in larger pieces, or they would take all the time there is.
_MOST_PIECES = 2048


class Pieces(NamedTuple):
    """What a target is given. ``choice`` is 0 to 255; no piece is empty."""

    choice: int
    pieces: tuple[bytes, ...]

    @property
    def whole(self) -> bytes:
        """All pieces as one."""
        return b"".join(self.pieces)

    @classmethod
    def of(cls, data: bytes) -> Pieces:
        """Read any input."""
        choice, count = data[:1], data[1:2]
        if count == bytes([_SINGLE_BYTES]):
            sent = data[2:]
            places: Sequence[int] = range(1, len(sent), 1 + len(sent) // _MOST_PIECES)
        else:
            start = 2 + 2 * (int.from_bytes(count) % (_MOST_CUTS + 1))
            sent = data[start:]
            places = [int.from_bytes(data[at : at + 2]) for at in range(2, start, 2)]
        return cls(int.from_bytes(choice), tuple(cut(sent, places)) if sent else ())


def single(sent: bytes, choice: int = 0) -> bytes:
    """The input that sends these bytes one by one."""
    return bytes([choice, _SINGLE_BYTES]) + sent


def joined(reads: Sequence[bytes], choice: int = 0) -> bytes:
    """The input that sends these reads, the last ones together when there are too many."""
    places: list[int] = []
    for read in reads[:-1][:_MOST_CUTS]:
        places.append(len(read) + (places[-1] if places else 0))
    places = [place for place in places if place < 1 << 16]
    head = bytes([choice, len(places)]) + b"".join(place.to_bytes(2) for place in places)
    return head + b"".join(reads)
