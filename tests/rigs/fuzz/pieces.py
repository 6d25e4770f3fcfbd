"""The format of an input: a choice, the positions of cuts, and the bytes to send.

The first byte is the choice, which each target interprets. The second is the number of cuts, two
bytes each; 255 means single bytes. The rest is sent. Every input is well formed, so that no
mutation is wasted.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from tests.unit.relay.chunks import cut

_MOST_CUTS = 5
_SINGLE_BYTES = 255
# Longer inputs are cut into larger pieces; single bytes would take too long.
_MOST_PIECES = 2048


class Pieces(NamedTuple):
    """A decoded input. ``choice`` is 0 to 255; no piece is empty."""

    choice: int
    pieces: tuple[bytes, ...]

    @property
    def whole(self) -> bytes:
        """The pieces, joined."""
        return b"".join(self.pieces)

    @classmethod
    def of(cls, data: bytes) -> Pieces:
        """Decode any input."""
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
    """Encode an input that sends the bytes one by one."""
    return bytes([choice, _SINGLE_BYTES]) + sent


def joined(reads: Sequence[bytes], choice: int = 0) -> bytes:
    """Encode an input that sends these reads; the last ones are joined if there are too many."""
    places: list[int] = []
    for read in reads[:-1][:_MOST_CUTS]:
        places.append(len(read) + (places[-1] if places else 0))
    places = [place for place in places if place < 1 << 16]
    head = bytes([choice, len(places)]) + b"".join(place.to_bytes(2) for place in places)
    return head + b"".join(reads)
