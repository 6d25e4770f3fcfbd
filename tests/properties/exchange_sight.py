"""Comparison of the client's response and the record with the model of a request."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import NamedTuple

from autopilot.observability.records import RequestRecord, milliseconds
from tests.properties.exchange_attempt import Phase
from tests.properties.exchange_model import Request
from tests.properties.exchange_replies import Means

_LAST_EVENT = b'data: {"error":'


class Seen(NamedTuple):
    """A response as received: so far (``open``), with a ``clean`` end, or ``cut``.

    ``code`` is that of an error of the router; ``selected`` and ``attempts`` are header fields.
    """

    status: int
    body: bytes
    end: str
    code: str | None = None
    selected: bytes | None = None
    attempts: bytes | None = None


def check_client(request: Request, seen: Seen | None) -> None:
    """Check that the client received what the model predicts, and nothing else."""
    if request.refusal is not None:
        assert seen is not None
        assert (seen.status, seen.code, seen.end) == (*request.refusal, "clean")
    elif not request.committed:
        assert seen is None, "something was written before commit"
    else:
        assert seen is not None, "committed, but nothing was written"
        _check_head(request, seen)
        _check_body(request, seen)


def _check_head(request: Request, seen: Seen) -> None:
    attempt = request.attempt
    assert attempt.reply is not None
    assert seen.status == attempt.reply.status
    if request.terms.mode == "direct":
        assert (seen.selected, seen.attempts) == (None, None)
    else:
        assert seen.selected == attempt.model.encode()
        assert seen.attempts == b"%d" % request.attempts


def _check_body(request: Request, seen: Seen) -> None:
    if request.left_early:
        assert request.attempt.body.startswith(seen.body)
    elif request.over and not request.clean:
        assert seen.end == "cut", "a broken response looks whole"
        _check_broken(request, seen.body)
    else:
        assert seen.end == ("clean" if request.over else "open")
        assert _passed(request, seen.body), "not what the upstream sent"


def _check_broken(request: Request, body: bytes) -> None:
    """Check the final error event of a stream, which a stream with its own end lacks."""
    attempt = request.attempt
    assert attempt.reply is not None
    relayed, found, event = body.rpartition(_LAST_EVENT)
    announced = (
        attempt.reply.streams
        and request.terms.guard != "off"
        and request.outcome != "client_stalled"
        and not any(
            each.piece.means is Means.ERROR and each.end <= request.least for each in attempt.events
        )
    )
    code = "empty" if request.outcome == "upstream_empty" else "stream_interrupted"
    if not found or f'"upstream_{code}"'.encode() not in event:
        assert _passed(request, body)
        assert not (announced and _at_boundary(body)), "broken without a word"
        return
    assert announced, "a stream was changed that is to pass as it is"
    assert json.loads(found[6:] + event)["error"]["code"] == f"upstream_{code}"
    assert event.endswith(b"}\n\n")
    assert _passed(request, relayed) and _at_boundary(relayed), "a word within an event"


def _passed(request: Request, body: bytes) -> bool:
    """Return whether ``body`` has as much of the chosen response as must have passed."""
    enough = request.least <= len(body) <= request.most
    return enough and request.attempt.body.startswith(body)


def _at_boundary(body: bytes) -> bool:
    return not body or body.endswith(b"\n\n")


def check_record(request: Request, records: Sequence[RequestRecord]) -> None:
    """Check that a completed request has one correct record, and an active one has none."""
    assert len(records) == request.over, f"{len(records)} records"
    for record in records:
        known = request.attempts > 0
        assert record.outcome == request.outcome
        assert record.attempts == request.attempts
        assert [failover.reason for failover in record.failovers] == request.failovers
        assert record.model == (request.attempt.model if known else None)
        assert record.mode == (request.terms.mode if known else "none")
        assert record.status == _status(request)
        assert record.duration_ms == milliseconds(request.over_at - request.began)
        assert request.least <= record.bytes <= request.most


def _status(request: Request) -> int | None:
    if request.refusal is not None:
        return request.refusal[0]
    if not request.committed:
        return None
    assert request.phase is Phase.OVER and request.attempt.reply is not None
    return request.attempt.reply.status
