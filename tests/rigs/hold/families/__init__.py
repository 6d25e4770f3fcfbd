"""The inputs, one module for each family."""

from typing import Final

from tests.rigs.hold.families import (
    bodies,
    crowds,
    errors,
    feeds,
    heads,
    pages,
    pipelining,
    selectors,
    streams,
    uploads,
)
from tests.rigs.hold.input import Input

INPUTS: Final[tuple[Input, ...]] = (
    *pipelining.INPUTS,
    *bodies.INPUTS,
    *selectors.INPUTS,
    *uploads.INPUTS,
    *streams.INPUTS,
    *heads.INPUTS,
    *errors.INPUTS,
    *feeds.INPUTS,
    *pages.INPUTS,
    *crowds.INPUTS,
)
