"""Mutations that are the same in every run, for where no fuzzer is."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from random import Random

_MOST_CHANGES = 4


def mutations(seeds: Sequence[bytes], tokens: Sequence[bytes], count: int) -> Iterator[bytes]:
    """So many changed seeds."""
    random = Random(count)
    for _ in range(count):
        data = random.choice(seeds)
        for _ in range(random.randint(1, _MOST_CHANGES)):
            data = _changed(random, data, seeds, tokens)
        yield data


def _changed(random: Random, data: bytes, seeds: Sequence[bytes], tokens: Sequence[bytes]) -> bytes:
    """One change: a byte flipped or removed, an end cut off, a token put in, two seeds spliced."""
    at = random.randint(0, len(data))
    to = min(len(data), at + random.randint(1, 8))
    match random.randrange(6):
        case 0 if at < len(data):
            return data[:at] + bytes([data[at] ^ 1 << random.randrange(8)]) + data[at + 1 :]
        case 1:
            return data[:at] + data[to:]
        case 2:
            return data[:at] + data[at:to] + data[at:]
        case 3:
            other = random.choice(seeds)
            return data[:at] + other[random.randint(0, len(other)) :]
        case 4:
            return (
                data[:at]
                if random.randrange(3) == 0
                else data[:at] + bytes([random.randrange(256)]) + data[to:]
            )
        case _:
            return data[:at] + random.choice(tokens) + data[at if random.randrange(2) else to :]
