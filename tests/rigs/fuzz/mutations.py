"""Reproducible mutations of the seeds, for tests that run without a fuzzer."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from random import Random

_MOST_CHANGES = 4


def mutations(seeds: Sequence[bytes], tokens: Sequence[bytes], count: int) -> Iterator[bytes]:
    """Return a number of mutated seeds."""
    random = Random(count)
    for _ in range(count):
        data = random.choice(seeds)
        for _ in range(random.randint(1, _MOST_CHANGES)):
            data = _changed(random, data, seeds, tokens)
        yield data


def _changed(random: Random, data: bytes, seeds: Sequence[bytes], tokens: Sequence[bytes]) -> bytes:
    """Mutate once: flip or remove a byte, truncate, insert a token, or splice two seeds."""
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
