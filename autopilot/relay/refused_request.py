"""Refused request: one without a plan, and so without an exchange.

It is answered with an error of the router's before any attempt, and leaves a record all the same.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, final

from msgspec import Struct

from autopilot.observability.records import (
    Outcome,
    RequestRecord,
    age_ms,
    milliseconds,
    own_error,
)

if TYPE_CHECKING:
    from autopilot.relay.collaborators import Collaborators
    from autopilot.relay.downstream import ClientRequest, Downstream
    from autopilot.relay.trace import Trace
    from autopilot.routing.router_error import RouterError
    from autopilot.routing.snapshot import Snapshot


@final
class RefusedRequest(Struct, frozen=True, gc=False):
    """A request without a plan, and why; the kind of its selector and ``stream`` if it was read.

    ``key`` is the name of the operator's own key that it had.

    Compare its `type`: with a class of msgspec's, `isinstance` takes four times as long.
    """

    error: RouterError
    mode: str = "none"
    stream: bool | None = None
    key: str | None = None


def refuse(
    shared: Collaborators,
    refused: RefusedRequest,
    request: ClientRequest,
    response: Downstream,
    snapshot: Snapshot,
    trace: Trace | None,
    now: float,
) -> None:
    """Respond with an error before any attempt, and leave the record."""
    error = refused.error
    outcome = own_error(error.status)
    if request.use is not None:
        request.use.end()
    if request.lease is not None:
        request.lease.end()
    if request.charge is not None:
        request.charge.release()
    try:
        response.refuse(error)
    except Exception:  # noqa: BLE001  see `Proxy.accept`
        shared.failures.report("An error response could not be written")
        outcome = Outcome.FAILED
        shared.failures.run("A client could not be cut off", response.abort)
    duration = milliseconds(shared.seconds() - now)
    record = RequestRecord(
        req_id=request.request_id,
        mode=refused.mode,
        candidates=0,
        model=None,
        attempts=0,
        failovers=(),
        status=error.status,
        snapshot_age_ms=age_ms(snapshot.utilization_at, now),
        catalog_age_ms=age_ms(snapshot.catalog_at, now),
        ttfb_ms=None,
        duration_ms=duration,
        bytes=0,
        outcome=outcome,
        endpoint=request.path.decode("ascii"),
        code=error.code,
        stream=refused.stream,
        key=refused.key,
    )
    try:
        shared.record(record)
    except Exception:  # noqa: BLE001  an embedding application's callback
        shared.failures.report("A request record could not be written")
    if trace is not None:
        shared.failures.run("A trace could not be ended", trace.over, record)
