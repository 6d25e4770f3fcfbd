"""Any call of a private exchange may raise: nothing leaks, and nothing is sent in another way."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from autopilot.attestation.private_instances import Cause
from autopilot.attestation.sealed_stream import StreamOpener
from autopilot.observability.private_counts import PrivateCounts
from autopilot.relay import private_call, private_exchange, private_path
from autopilot.relay.private_attempt import PrivateAttempt
from autopilot.relay.private_call import PrivateCall
from autopilot.relay.private_causes import Causes
from autopilot.relay.private_exchange import PrivateExchange
from autopilot.relay.private_path import PrivatePath
from autopilot.state.tables import StateTables
from autopilot.upstream.pool import Pool
from tests.properties.test_exchange_faults import Fuse, FuseError
from tests.unit.attestation.fake_instances import FakeInstances
from tests.unit.relay.downstreams import RecordingDownstream
from tests.unit.relay.private import API, CAPACITY, STALE_NONCE, Call, PrivateRouterTestCase, detail
from tests.unit.relay.routers import Client
from tests.unit.relay.upstreams import DONE, ROLE, STOP, TOKEN, chunk, head

_PLACES: tuple[tuple[Any, tuple[str, ...]], ...] = (
    (private_exchange, ("private_error", "private_fields", "private_outcome", "reason_of")),
    (private_call, ("opened_head", "passed_head", "open_reply")),
    (private_path, ("seal", "printable")),
    (FakeInstances, ("acquire", "nonce_refused", "key_changed", "vanished")),
    (PrivatePath, ("sealed", "call")),
    (PrivateCall, ("pause", "resume", "_over", "_close")),
    (PrivateCounts, ("request", "stream_fault")),
    (PrivateAttempt, ("drop_call",)),
    (StreamOpener, ("feed", "end")),
    (Causes, ("add", "failed", "error")),
    (StateTables, ("failed", "committed", "broke", "ended")),
    (Pool, ("dispatch",)),
    (RecordingDownstream, ("whole", "commit", "write", "finish", "cut", "produce", "announce")),
    (PrivateExchange, ("_conclude", "_commit", "_begin", "_send", "_fail", "_refuse", "_tell")),
)

Script = Callable[[PrivateRouterTestCase, Client], None]


def _leaves(case: PrivateRouterTestCase, client: Client) -> None:
    client.leaves()


def _stops(case: PrivateRouterTestCase, client: Client) -> None:
    case.proxy.shut_down()


def _waits(case: PrivateRouterTestCase, client: Client) -> None:
    case.clock.advance(1000)


def _pauses(case: PrivateRouterTestCase, client: Client) -> None:
    if client.down.producer is not None and client.down.ended is None:
        client.down.producer.pauseProducing()
        client.down.producer.resumeProducing()


def _on_wire(does: Script) -> Script:
    def when_there_is_one(case: PrivateRouterTestCase, client: Client) -> None:
        if case.upstreams.wires and case.wire.alive and case.wire.value():
            does(case, client)

    return when_there_is_one


def _says(data: bytes) -> Script:
    return _on_wire(lambda case, client: case.wire.says(data))


def _streams(*pieces: bytes, ends: bool) -> Script:
    def streams(case: PrivateRouterTestCase, client: Client) -> None:
        events = Call(case.wire).events(*pieces)
        case.wire.says(head(), *(chunk(each) for each in events))
        if ends:
            case.wire.says(chunk(b""))

    return _on_wire(streams)


_EVENTS: tuple[Script, ...] = (
    _leaves,
    _stops,
    _waits,
    _pauses,
    _on_wire(lambda case, client: case.wire.resets()),
    _on_wire(lambda case, client: Call(case.wire).replies()),
    _streams(ROLE, TOKEN, STOP, DONE, ends=True),
    _streams(ROLE, TOKEN, ends=False),
    _streams(ROLE, TOKEN, ends=True),
    _says(chunk(b'data: {"e2e":"forged"}\n\n')),
    _says(chunk(b"data: [DONE]\n\n")),
    _says(CAPACITY),
    _says(STALE_NONCE),
    _says(detail(404, "Instance not found")),
    _says(detail(400, '{"detail":"E2E decryption failed"}')),
    _says(detail(401, "Invalid token.")),
    _says(detail(400, "A" * 120)),
)


class PrivateFaultTests(SynchronousTestCase):
    """One private exchange with one fault."""

    @given(
        at=st.integers(1, 30),
        script=st.lists(st.sampled_from(_EVENTS), max_size=5),
        stream=st.booleans(),
        found=st.lists(st.sampled_from((1, 2, 3, Cause.NO_INSTANCE, Cause.REFUSED)), max_size=4),
    )
    @settings(max_examples=300, deadline=None)
    def test_anything_may_raise(
        self, at: int, script: list[Script], stream: bool, found: list[int | Cause]
    ) -> None:
        """For every fault there is one record, an honest end, no leak, and no other way."""
        case = PrivateRouterTestCase("finish")
        case.setUp()
        case.finds(*found)
        fuse = Fuse(at)
        with _wired(fuse):
            client = case.ask("a,b", stream=stream)
            for event in script:
                event(case, client)
        failures = self.flushLoggedErrors(FuseError)
        self.assertEqual(bool(failures), fuse.blown is not None)
        self.assertLessEqual(set(case.upstreams.origins), {API})
        self.assertNotIn(b"forged", client.down.body)
        if failures:
            self._check_end(case, client)
        case.finish()

    def _check_end(self, case: PrivateRouterTestCase, client: Client) -> None:
        """Check that nothing is kept of an exchange that has ended."""
        down = client.down
        if case.proxy.active:
            # The fault was met where it is no one's but its own: the exchange goes on.
            return
        self.assertEqual(len(case.records), 1)
        busy = [each for each in case.pool._open if each._call is not None]
        self.assertEqual([each for each in busy if each not in case.pool._draining], [])
        self.assertTrue(all(each.answer.called for each in case.instances.asked))
        if down.ended is None:
            self.assertEqual(case.records[0].outcome, "client_gone")


@contextmanager
def _wired(fuse: Fuse) -> Iterator[None]:
    """Replace every call for the duration of the block."""
    kept = [
        (place, name, vars(place).get(name), getattr(place, name))
        for place, names in _PLACES
        for name in names
    ]
    steps = PrivateExchange._steps
    for place, name, _, wired in kept:
        setattr(place, name, fuse.wire(name, wired))
    PrivateExchange._steps = {
        state: {
            given_input: (fuse.wire(row[0].__name__, row[0]), row[1])
            for given_input, row in rows.items()
        }
        for state, rows in steps.items()
    }
    try:
        yield
    finally:
        PrivateExchange._steps = steps
        for place, name, own, _ in kept:
            if own is None:
                delattr(place, name)  # it was inherited
            else:
                setattr(place, name, own)
