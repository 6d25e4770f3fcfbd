"""Ways to cut bytes into chunks, as a network would."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise

from hypothesis import strategies as st


def cut(data: bytes, places: Sequence[int]) -> list[bytes]:
    """``data`` in non-empty chunks, cut at ``places``."""
    inner = sorted({place for place in places if 0 < place < len(data)})
    return [data[start:end] for start, end in pairwise([0, *inner, len(data)]) if start < end]


def halves(data: bytes) -> Iterator[list[bytes]]:
    """``data`` whole, in single bytes, and in two parts cut at each place."""
    yield cut(data, [])
    yield cut(data, range(len(data)))
    for place in range(1, len(data)):
        yield cut(data, [place])


def places(longest: int = 2000) -> st.SearchStrategy[list[int]]:
    """Return the offsets of the cuts."""
    return st.lists(st.integers(1, longest), max_size=12)
