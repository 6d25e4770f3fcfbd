"""Runs a state machine that Automat described.

Automat checks the table and can draw it; running it, it finds a transition by comparing its way
through all of them, and wraps every step several times. A request takes half a dozen steps, so here
the finished table is put into one dictionary per state, and a step is one look-up and one call. The
rules are Automat's: an input that arrives during a step waits until it is done, and one that the
state does not know raises.

The table is read through `allTransitions`, but the way to it is not public; where anything looks
otherwise than expected, Automat runs the machine itself.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from automat import NoTransition

_Row = dict[str, tuple[Any, Callable[..., object]]]


class _Runner:
    """One machine. ``row`` stands for its state: the inputs it knows, and where they lead."""

    __slots__ = ("busy", "core", "late", "row")

    def __init__(self, row: _Row, core: object) -> None:
        self.row = row
        self.core: object = core
        self.busy = False
        self.late: list[tuple[Callable[..., None], tuple[object, ...]]] | None = None


def runner(machine: Any) -> Any:
    """A factory of runners for a machine whose states carry no data, else ``machine`` itself."""
    try:
        automaton = machine.__automat_automaton__
        transitions = automaton.allTransitions()
        first = automaton.initialState
        rows: dict[Any, _Row] = {state: {} for state in automaton.states()}
        for before, symbol, after, (output,) in transitions:
            if output.requiresData:
                return machine
            rows[before][symbol] = (rows[after], output.method)
    except (AttributeError, TypeError, ValueError):
        return machine
    names = {state.name: rows[state] for state in rows}
    steps = {symbol: _step(symbol, names) for symbol in automaton.inputAlphabet()}
    kind = type("Runner", (_Runner,), {"__slots__": (), **steps})
    return lambda core: kind(rows[first], core)


def release(machine: Any) -> None:
    """Part a machine that is over from its core, which so far held it in turn.

    Both, and all that hangs on them, then go when their last user does, not when the collector of
    cycles comes by. Only steps that leave the core alone may follow.
    """
    if isinstance(machine, _Runner):
        machine.core = None


def _step(symbol: str, names: dict[str, _Row]) -> Callable[..., None]:
    """The method for one input."""

    def step(self: _Runner, *given: object) -> None:
        if self.busy:
            if self.late is None:
                self.late = []
            self.late.append((step, given))
            return
        known = self.row.get(symbol)
        if known is None:
            (state,) = (name for name, row in names.items() if row is self.row)
            raise NoTransition(state=state, symbol=symbol)
        self.row, output = known
        self.busy = True
        try:
            output(self, self.core, *given)
        finally:
            self.busy = False
            late, self.late = self.late, None
        if late is not None:
            for later, also in late:
                later(self, *also)

    step.__name__ = symbol
    return step
