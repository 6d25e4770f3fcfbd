"""Invariants of the exchange machine: the router, its connections and the records."""

from __future__ import annotations

from tests.properties.exchange_attempt import Phase
from tests.properties.exchange_rig import Rig
from tests.properties.exchange_sight import check_client, check_record

DRAIN = 2.0


def all_promises(rig: Rig) -> None:
    """Check everything that must hold between two steps."""
    one_attempt(rig)
    slow_clients_slow_down_upstreams(rig)
    client_has_what_is_promised(rig)
    one_record(rig)
    active_requests_are_counted(rig)
    everything_is_released(rig)
    ledger_agrees(rig)
    assert not rig.failures, rig.failures


def one_attempt(rig: Rig) -> None:
    """Check that a request has at most one open attempt, and none after its end."""
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
    """Check that the router pauses an upstream exactly while its client does not read."""
    for line in rig.network.busy:
        request = rig.requests[line.carries]
        stalled = request.stalled and not request.over
        assert line.producerState == ("paused" if stalled else "producing")


def client_has_what_is_promised(rig: Rig) -> None:
    """Check the client's bytes: none before commit, then one upstream's, with an honest end."""
    for visitor in rig.visitors:
        for name in visitor.names:
            check_client(rig.requests[name], rig.seen(visitor, name))


def one_record(rig: Rig) -> None:
    """Check that each completed request has one correct record."""
    for name, request in rig.requests.items():
        check_record(request, [each for each in rig.records if each.req_id == name])


def active_requests_are_counted(rig: Rig) -> None:
    """Check the gauge of active requests, and that the drain is signalled once."""
    active = len(rig.active)
    assert rig.proxy.active == active
    assert rig.emptied == (rig.proxy.draining and not active)


def ledger_agrees(rig: Rig) -> None:
    """Check that the active requests are charged, with their bodies until commit, and no others."""
    ledger = rig.proxy.ledger
    assert ledger.requests == len(rig.active)
    waiting = [each for each in rig.active if each.phase is not Phase.RELAYING]
    least = sum(each.terms.body_size for each in waiting)
    assert least <= ledger.held_bytes if waiting else ledger.held_bytes == 0
    if not rig.active and all(visitor.lost for visitor in rig.visitors):
        assert not ledger.clients


def everything_is_released(rig: Rig) -> None:
    """Check that no connection, timer or producer outlives its purpose."""
    assert rig.pool.open_connections == len(rig.network.alive) + len(rig.network.openings)
    assert all(line.reusable for line in rig.network.idle)
    assert len(rig.network.idle) <= rig.setup.pool_size
    for visitor in rig.connected:
        if all(rig.requests[name].over for name in visitor.names):
            assert visitor.producer is None
    connected = sum(not visitor.lost for visitor in rig.visitors)
    # One timer per request, connection attempt and client, and one for all idle connections.
    most = len(rig.active) + len(rig.network.openings) + connected + 2
    assert len(rig.clock.getDelayedCalls()) <= most
