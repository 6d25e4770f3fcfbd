"""Response heads of private requests: what passes of the gateway's, and what the router adds.

A gateway's head is not sealed. Of its fields only those pass that describe the call; a redirection
or a cookie would let it reach the client behind the seal.
"""

from __future__ import annotations

from math import floor
from typing import TYPE_CHECKING, Final

from msgspec import structs

from autopilot.http.headers import Field
from autopilot.relay.response_head import INSTANCE, PRIVATE
from autopilot.routing.account_limits import LIMIT_FIELDS

if TYPE_CHECKING:
    from autopilot.attestation.private_instances import Attested
    from autopilot.http.response_parser import ResponseHead

_PASS: Final = LIMIT_FIELDS | {
    b"date",
    b"retry-after",
    b"x-should-retry",
    b"x-chutes-invocationid",
    b"x-chutes-invoice-billing",
}
# What an error needs besides, as its body is the gateway's own.
_PASS_WITH_BODY: Final = _PASS | {b"content-type", b"content-length", b"content-encoding"}


def passed_head(head: ResponseHead) -> ResponseHead:
    """Return the head of an error that may be relayed."""
    return structs.replace(head, fields=_passing(head, _PASS_WITH_BODY))


def opened_head(head: ResponseHead, content_type: str, length: int | None = None) -> ResponseHead:
    """Return the head of an opened answer, which has the engine's content type."""
    fields = [*_passing(head, _PASS), (b"Content-Type", content_type.encode("ascii"))]
    if length is not None:
        fields.append((b"Content-Length", b"%d" % length))
    return structs.replace(
        head, reason=b"OK", fields=fields, content_type=content_type, length=length
    )


def private_fields(attested: Attested, now: float) -> list[Field]:
    """Return the fields that tell the client which instance has answered, and what is known of it.

    ``age`` is the number of seconds since its key was verified.
    """
    found = attested.verified
    value = (
        f"{attested.word};age={max(0, floor(now - attested.since))}"
        f';tcb="{found.tcb}";measurement="{found.measurement.label}";gpu="{found.gpu_checks}"'
    )
    return [(PRIVATE, value.encode("ascii")), (INSTANCE, attested.instance_id.encode("ascii"))]


def _passing(head: ResponseHead, names: frozenset[bytes]) -> list[Field]:
    return [field for field in head.fields if field[0].lower() in names]
