"""Any call may raise: the client gets a response, and every resource is released.

Hypothesis selects the call of an exchange's step or collaborator that raises. The client must get a
500 before commit or a truncated response after it, with one record.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from autopilot.relay import (
    bridge,
    commit,
    event_guard,
    exchange,
    exchange_attempts,
    exchange_ends,
    exchange_hedge,
    exchange_retries,
    stream,
)
from autopilot.relay.bridge import COMMENT, BridgedResponse
from autopilot.relay.exchange import Exchange
from autopilot.relay.hedge import Hedge, Rival
from autopilot.routing import retry_policy
from autopilot.routing.commit import Commit
from autopilot.state.hedging import HedgeBudget
from autopilot.state.tables import StateTables
from autopilot.upstream.pool import Pool
from tests.unit.relay.downstreams import RecordingDownstream
from tests.unit.relay.routers import ALIAS, EACH, Client, RouterTestCase
from tests.unit.relay.upstreams import DONE, JSON, ROLE, STOP, TOKEN, chunk, head, whole


class FuseError(Exception):
    """The planned fault."""


class Fuse:
    """Raises once, at the call with a given number."""

    def __init__(self, at: int) -> None:
        self._left = at
        self.blown: str | None = None

    def wire(self, name: str, wired: Callable[..., Any]) -> Callable[..., Any]:
        """Return ``wired`` with the fuse before each call."""

        def behind(*args: Any, **kwargs: Any) -> Any:
            self._left -= 1
            if self._left == 0:
                self.blown = name
                raise FuseError(name)
            return wired(*args, **kwargs)

        return behind


_PLACES: tuple[tuple[Any, tuple[str, ...]], ...] = (
    (retry_policy, ("at_head", "on_body")),
    (exchange, ("commit_policy",)),
    (exchange_retries, ("reply",)),
    (exchange_ends, ("committed_head", "stream_guard", "given_up")),
    (StateTables, ("failed", "committed", "broke", "ended")),
    (commit.FirstContent, ("feed", "end")),
    (commit.WholeStream, ("feed", "end")),
    (event_guard.EventGuard, ("feed", "end")),
    (stream, ("reported_usage", "count_events")),
    (Pool, ("dispatch",)),
    (exchange_attempts, ("bridged_head", "BridgedResponse")),
    (exchange_ends, ("response_event",)),
    (bridge, ("refusal_event", "failure_event", "error_text")),
    (BridgedResponse, ("begin", "comment", "relay", "close", "refuse", "whole", "commit")),
    (exchange_hedge, ("Hedge", "Rival")),
    (Hedge, ("begin", "take_rival", "drop_rival", "close")),
    (Rival, ("abort",)),
    (HedgeBudget, ("request", "draw")),
    (RecordingDownstream, ("whole", "commit", "write", "finish", "cut", "produce", "announce")),
    (Exchange, ("_conclude", "_commit", "_begin", "_send", "_fail", "_refuse")),
)

Script = Callable[[RouterTestCase, Client], None]


def _leaves(case: RouterTestCase, client: Client) -> None:
    client.leaves()


def _stops(case: RouterTestCase, client: Client) -> None:
    case.proxy.shut_down()


def _waits(case: RouterTestCase, client: Client) -> None:
    case.clock.advance(1000)


def _says_nothing(case: RouterTestCase, client: Client) -> None:
    case.clock.advance(1)


def _pauses(case: RouterTestCase, client: Client) -> None:
    if client.down.producer is not None and client.down.ended is None:
        client.down.producer.pauseProducing()
        client.down.producer.resumeProducing()


def _says(*data: bytes) -> Script:
    def says(case: RouterTestCase, client: Client) -> None:
        if case.upstreams.wires and case.wire.alive:
            case.wire.says(*data)

    return says


def _first_says(*data: bytes) -> Script:
    def says(case: RouterTestCase, client: Client) -> None:
        if case.upstreams.wires and case.upstreams.wires[0].alive:
            case.upstreams.wires[0].says(*data)

    return says


def _resets(case: RouterTestCase, client: Client) -> None:
    if case.upstreams.wires and case.wire.alive:
        case.wire.resets()


_EVENTS: tuple[Script, ...] = (
    _leaves,
    _stops,
    _waits,
    _says_nothing,
    _pauses,
    _resets,
    _says(whole(200, b"{}")),
    _says(whole(503, b"")),
    _says(whole(400, b'{"detail":"no"}')),
    _says(head(403, b"text/html")),
    _says(head(429, JSON), chunk(b'{"detail":')),
    _says(head(), chunk(ROLE)),
    _says(head(), chunk(TOKEN)),
    _first_says(head(), chunk(TOKEN)),
    _first_says(whole(503, b"")),
    _says(chunk(TOKEN + b"\r\n\r\n")),
    _says(chunk(b'{"error":{"message":"x"}}\n')),
    _says(chunk(STOP + DONE), chunk(b"")),
)


class FaultTests(SynchronousTestCase):
    """One exchange with one fault."""

    @given(
        at=st.integers(1, 30),
        script=st.lists(st.sampled_from(_EVENTS), max_size=6),
        stream=st.booleans(),
        commit_at=st.sampled_from(Commit),
        connects=st.booleans(),
        bridged=st.booleans(),
        hedged=st.booleans(),
    )
    @settings(max_examples=400, deadline=None)
    def test_anything_may_raise(
        self,
        at: int,
        script: list[Script],
        stream: bool,
        commit_at: Commit,
        connects: bool,
        bridged: bool,
        hedged: bool,
    ) -> None:
        """For every fault there is one record, an honest end, and no leak."""
        case = RouterTestCase("finish")
        case.setUp()
        fuse = Fuse(at)
        case.build(commit=commit_at)
        case.upstreams.refusing = not connects
        if hedged:
            case.hedging(0.3)
        with _wired(fuse):
            client = case.ask(ALIAS, *([EACH] if bridged else []), stream=stream)
            for event in script:
                event(case, client)
        failures = self.flushLoggedErrors(FuseError)
        if fuse.blown is not None:
            self.assertEqual(len(failures), 1)
            self._check_end(case, client)
        else:
            self.assertEqual(failures, [])
        case.finish()

    def _check_end(self, case: RouterTestCase, client: Client) -> None:
        """Check that the exchange has ended, unless the fault occurs after its end."""
        down = client.down
        self.assertEqual(case.proxy.active, 0, "a slot is kept")
        self.assertEqual(len(case.records), 1)
        self.assertEqual(
            case.upstreams.alive, [wire for wire in case.upstreams.alive if _idle(case)]
        )
        if down.ended is None:
            # Only a disconnected client gets no response.
            self.assertEqual(case.records[0].outcome, "client_gone")
        elif down.body == COMMENT * len(down.writes) and down.writes:
            # A stream that has begun does not end without a word, unless it is cut off.
            self.assertEqual(down.ended, "abort")
        elif down.head is None:
            self.assertEqual(down.status, 500 if down.code == "internal_error" else down.status)


def _idle(case: RouterTestCase) -> bool:
    return all(connection._call is None for connection in case.pool._open)


@contextmanager
def _wired(fuse: Fuse) -> Iterator[None]:
    """Replace every call for the duration of the block."""
    kept = [(place, name, getattr(place, name)) for place, names in _PLACES for name in names]
    steps = Exchange._steps
    for place, name, wired in kept:
        setattr(place, name, fuse.wire(name, wired))
    rewired = {
        state: {
            given_input: (fuse.wire(row[0].__name__, row[0]), row[1])
            for given_input, row in rows.items()
        }
        for state, rows in steps.items()
    }
    Exchange._steps = rewired
    try:
        yield
    finally:
        Exchange._steps = steps
        for place, name, wired in kept:
            setattr(place, name, wired)
