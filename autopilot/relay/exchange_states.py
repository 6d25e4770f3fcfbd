"""Transition table of an exchange, as data.

A row names the step that handles an input in a state, and the states to which the step may lead;
the step itself returns the next state. An input without a row is a bug, except after the end of the
exchange, when late inputs are ignored.

Attempts are arguments of inputs, not states: two may run in one state. A test
compares the exchange with an Automat machine built from this table; `tools/exchange_diagram.py`
draws it. The table of private exchanges is made from it: each attempt of theirs is sealed first.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import NamedTuple


class State(StrEnum):
    """The states of an exchange."""

    PLANNED = "planned"
    SEALING = "sealing"
    """A private attempt waits for an instance whose key is verified; nothing has been sent."""
    PACING = "pacing"
    """The first attempt waits for a token of its key; nothing has been sent."""
    ATTEMPTING = "attempting"
    """A request has been sent, or waits for its connection; there is no response head yet."""
    READING = "reading"
    """The body of an error response is arriving; it decides about a retry."""
    HOLDING = "holding"
    """A 2xx response is held until its commit point."""
    PAUSING = "pausing"
    """The upstream asked for a delay, after which the same model is tried again."""
    STREAMING = "streaming"
    """After commit: the response is being relayed."""
    OVER = "over"


class Input(StrEnum):
    """The events of an exchange."""

    START = "start"
    SEALED = "sealed"
    UNSEALED = "unsealed"
    ADMITTED = "admitted"
    WHOLE = "whole"
    HEAD = "head"
    BODY = "body"
    END = "end"
    BROKEN = "broken"
    EXPIRED = "expired"
    CLIENT_GONE = "client_gone"
    SHUT_DOWN = "shut_down"
    KEEP_ALIVE = "keep_alive"
    HEDGE = "hedge"
    OVERTAKEN = "overtaken"
    RIVAL_LOST = "rival_lost"
    STREAM_OVER = "stream_over"


class Transition(NamedTuple):
    """The step for an input, by its method's name, and the states to which it may lead."""

    step: str
    to: frozenset[State]


Table = Mapping[State, Mapping[Input, Transition]]

_STREAMING_OR_OVER = frozenset({State.STREAMING, State.OVER})
_OVER = frozenset({State.OVER})
# After the end of an attempt: commit to its response, retry, try the next candidate, or give up.
_DECIDED = _STREAMING_OR_OVER | {State.ATTEMPTING, State.PAUSING}

_LEAVING = {
    Input.CLIENT_GONE: Transition("abandon", _OVER),
    Input.SHUT_DOWN: Transition("refuse_to_wait", _OVER),
}


def _waiting(state: State) -> Mapping[Input, Transition]:
    """Return the rows that every state has in which an answer is awaited.

    ``KEEP_ALIVE`` writes a head and comments, which is not commit: the state stays.
    """
    return {**_LEAVING, Input.KEEP_ALIVE: Transition("keep_alive", frozenset({state}))}


def _hedged(state: State) -> Mapping[Input, Transition]:
    """Return the rows of a state in which a second attempt may run beside the first.

    ``HEDGE`` begins it, and the state stays that of the first. Then it has content first, or is
    lost, after which the first may be the last one and commit to what it holds.
    """
    stays = frozenset({state})
    return {
        Input.HEDGE: Transition("begin_hedge", stays),
        Input.OVERTAKEN: Transition("overtake", frozenset({State.ATTEMPTING, state})),
        Input.RIVAL_LOST: Transition("lose_rival", stays | _COMMITS.get(state, frozenset())),
    }


_COMMITS = {State.HOLDING: _STREAMING_OR_OVER}

TRANSITIONS: Table = {
    State.PLANNED: {
        Input.START: Transition(
            "try_first", frozenset({State.PACING, State.ATTEMPTING, State.OVER})
        ),
    },
    State.PACING: {
        Input.ADMITTED: Transition("admit", frozenset({State.ATTEMPTING, State.OVER})),
        Input.EXPIRED: Transition("expire_pacing", frozenset({State.ATTEMPTING, State.OVER})),
        **_waiting(State.PACING),
    },
    State.ATTEMPTING: {
        Input.WHOLE: Transition("judge_whole", _DECIDED),
        Input.HEAD: Transition("judge_head", _DECIDED | {State.READING, State.HOLDING}),
        Input.BROKEN: Transition("judge_error", _DECIDED),
        Input.EXPIRED: Transition("expire", _DECIDED),
        **_hedged(State.ATTEMPTING),
        **_waiting(State.ATTEMPTING),
    },
    State.READING: {
        Input.BODY: Transition("read_body", _DECIDED | {State.READING}),
        Input.END: Transition("read_end", _DECIDED),
        Input.BROKEN: Transition("read_error", _DECIDED),
        Input.EXPIRED: Transition("expire", _DECIDED),
        **_hedged(State.READING),
        **_waiting(State.READING),
    },
    State.HOLDING: {
        Input.BODY: Transition("hold_body", _DECIDED | {State.HOLDING}),
        Input.END: Transition("hold_end", _DECIDED),
        Input.BROKEN: Transition("judge_error", _DECIDED),
        Input.EXPIRED: Transition("expire", _DECIDED | {State.HOLDING}),
        **_hedged(State.HOLDING),
        **_waiting(State.HOLDING),
    },
    State.PAUSING: {
        Input.EXPIRED: Transition("resume", frozenset({State.ATTEMPTING, State.OVER})),
        **_hedged(State.PAUSING),
        **_waiting(State.PAUSING),
    },
    State.STREAMING: {
        Input.EXPIRED: Transition("stream_expired", _STREAMING_OR_OVER),
        Input.CLIENT_GONE: Transition("stream_client_gone", _STREAMING_OR_OVER),
        Input.SHUT_DOWN: Transition("stream_shut_down", _STREAMING_OR_OVER),
        Input.STREAM_OVER: Transition("conclude_stream", _OVER),
    },
    State.OVER: {},
}


# A private attempt is sealed before it is sent, whatever led to it. The platform is not given time:
# nothing that it asks for under this key can be read, so that no attempt pauses.
_SEALED_FIRST = {State.ATTEMPTING: frozenset({State.SEALING}), State.PAUSING: frozenset[State]()}


_NOT_PRIVATE = frozenset({Input.KEEP_ALIVE, Input.HEDGE, Input.OVERTAKEN, Input.RIVAL_LOST})


def _of_private(rows: Mapping[Input, Transition]) -> dict[Input, Transition]:
    """Return the rows of a state for private exchanges.

    The head of a private answer says that it is one, so that none is written before it. Each of
    their attempts is sealed, so that none runs beside another.
    """
    return {
        given: Transition(
            row.step,
            frozenset[State]().union(*(_SEALED_FIRST.get(each, {each}) for each in row.to)),
        )
        for given, row in rows.items()
        if given not in _NOT_PRIVATE
    }


PRIVATE_TRANSITIONS: Table = {
    **{
        state: _of_private(rows)
        for state, rows in TRANSITIONS.items()
        if state is not State.PAUSING
    },
    State.ATTEMPTING: {
        **_of_private(TRANSITIONS[State.ATTEMPTING]),
        # The allowance of an attempt is extended, or it gives way to another.
        Input.EXPIRED: Transition("expire", _STREAMING_OR_OVER | {State.ATTEMPTING, State.SEALING}),
    },
    State.SEALING: {
        Input.SEALED: Transition("send_sealed", frozenset({State.ATTEMPTING, State.OVER})),
        Input.UNSEALED: Transition("judge_unsealed", frozenset({State.SEALING, State.OVER})),
        Input.EXPIRED: Transition("expire_sealing", frozenset({State.SEALING, State.OVER})),
        **_LEAVING,
    },
}
"""The rows of private exchanges."""
