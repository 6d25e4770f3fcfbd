"""Configuration of the data plane, mapped from the settings in `wiring`.

A reload replaces the whole value; an exchange keeps the one with which it began.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from autopilot.http.dialect import Dialect
    from autopilot.relay.sse_guard import GuardLevel
    from autopilot.request.parse import ParseConfig
    from autopilot.routing.identity import Trust
    from autopilot.routing.retry_policy import Policy
    from autopilot.upstream.backend import Backend


@dataclass(frozen=True, slots=True)
class Timeouts:
    """The longest duration of each phase of an exchange, in seconds (contract §6, deadlines).

    While another candidate remains, ``failover_after`` limits the wait for a stream's first content
    and ``plain_failover_after`` that for the end of any other answer.
    """

    connect: float
    header: float
    unary: float
    first_body_byte: float
    idle: float
    error_body: float
    failover_after: float
    plain_failover_after: float
    total: float


@dataclass(frozen=True, slots=True)
class RelayConfig:
    """The rules for admission, attempts and relaying. Sizes are in bytes.

    ``shape_errors``: the platform's JSON errors get the ``error`` member that SDKs read.
    ``by_conversation``: each conversation stays with its own model, else all of a client's do.
    ``reads_usage``: the tokens that upstreams report are read; ``asks_usage``: chat streams that do
    not ask for them are made to.
    ``attest_timeout``: the wait for an instance with a verified key, in seconds, and
    ``max_instances``: the most of them to which one private request is sent.
    ``governed``: the dialects whose calls the account's governor counts, for the first of which a
    request waits up to ``pace`` seconds.
    ``backends``: the other services to which requests may go, by name.
    ``hedge_after``: a stream whose first content takes that many times as long as usual gets a
    second attempt beside the first; 0: none does.
    ``of_routes``: the configurations of the routes that have time-outs of their own.
    """

    parsing: ParseConfig
    timeouts: Timeouts
    policy: Policy
    guard: GuardLevel
    shape_errors: bool
    max_attempts: int
    commit_max_bytes: int
    max_active: int
    trust: Trust
    by_conversation: bool = True
    reads_usage: bool = True
    asks_usage: bool = False
    governed: frozenset[Dialect] = frozenset()
    pace: float = 0.0
    hedge_after: float = 0.0
    attest_timeout: float = 20.0
    max_instances: int = 3
    backends: Mapping[str, Backend] = field(default_factory=dict)
    of_routes: Mapping[str, RelayConfig] = field(default_factory=dict)
