"""The promises of the engine's machine, checked on the router, its two ends and the records."""

from __future__ import annotations

from tests.properties.exchange_rig import Rig
from tests.properties.exchange_sight import check_client, check_record

DRAIN = 2.0


def all_promises(rig: Rig) -> None:
    """Everything that has to hold between two steps."""
    one_attempt(rig)
    slow_clients_slow_down_upstreams(rig)
    client_has_what_is_promised(rig)
    one_record(rig)
    active_requests_are_counted(rig)
    everything_is_released(rig)
    assert not rig.failures, rig.failures


def one_attempt(rig: Rig) -> None:
    """A request has at most one upstream attempt alive, and none when it is over."""
    network = rig.network
    for name, request in rig.requests.items():
        lines = [line for line in network.alive if line.carries == name]
        openings = [each for each in network.openings if each.request == name]
        if request.drains and rig.now < request.over_at + DRAIN:
            assert not openings
        else:
            assert len(lines) + len(openings) <= (not request.over)
        assert request.attempts <= request.terms.max_attempts


def slow_clients_slow_down_upstreams(rig: Rig) -> None:
    """While a client takes nothing, nothing is read for it; and never else."""
    for line in rig.network.busy:
        request = rig.requests[line.carries]
        stalled = request.stalled and not request.over
        assert line.producerState == ("paused" if stalled else "producing")


def client_has_what_is_promised(rig: Rig) -> None:
    """Nothing before commit, one upstream's bytes after it, and an end that does not lie."""
    for visitor in rig.visitors:
        for name in visitor.names:
            check_client(rig.requests[name], rig.seen(visitor, name))


def one_record(rig: Rig) -> None:
    """Each request leaves one record when it is over, which says what happened."""
    for name, request in rig.requests.items():
        check_record(request, [each for each in rig.records if each.req_id == name])


def active_requests_are_counted(rig: Rig) -> None:
    """The gauge says how many requests are open; whoever waits for none is told once."""
    active = len(rig.active)
    assert rig.proxy.active == active
    assert rig.emptied == (rig.proxy.draining and not active)


def everything_is_released(rig: Rig) -> None:
    """No connection, timer or producer outlives what it was for."""
    assert rig.pool.open_connections == len(rig.network.alive) + len(rig.network.openings)
    assert all(line.reusable for line in rig.network.idle)
    assert len(rig.network.idle) <= rig.setup.pool_size
    for visitor in rig.connected:
        if all(rig.requests[name].over for name in visitor.names):
            assert visitor.producer is None
    connected = sum(not visitor.lost for visitor in rig.visitors)
    # One timer for each request, opening and client, one for all idle connections, and one for all
    # whose last response was over before its end.
    most = len(rig.active) + len(rig.network.openings) + connected + 2
    assert len(rig.clock.getDelayedCalls()) <= most
