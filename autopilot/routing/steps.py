"""Computations in steps: generators that pause, so that their caller can do other work between.

The feeds may hold thousands of records, and the event loop must not stand still while they are
read. What drives a computation decides when the next step comes; here are only its means.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator
from typing import TypeAlias, TypeVar

STEP = 512
"""Records handled in one step: ten milliseconds, as each takes about twenty microseconds."""

_T = TypeVar("_T")

Steps: TypeAlias = Generator[None, None, _T]
"""A computation that pauses by yielding None, and returns its result."""


def in_steps(items: Iterable[_T]) -> Iterator[_T | None]:
    """Yield the items, and None where a step ends: after each `STEP` of them."""
    for number, item in enumerate(items, 1):
        yield item
        if number % STEP == 0:
            yield None


def result_of(steps: Steps[_T]) -> _T:
    """Run all steps at once, and return the result."""
    while True:
        try:
            next(steps)
        except StopIteration as ended:
            result: _T = ended.value
            return result
