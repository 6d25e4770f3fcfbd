"""What an exchange needs of the account's governor, so that the platform's edge bans no key.

The first call of a request waits for a token of its key, or is refused. Each further call needs
another token: without one no candidate is left (contract §6).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from autopilot.observability.records import milliseconds
from autopilot.relay.response_head import reply
from autopilot.routing.account_limits import read_limit
from autopilot.routing.edge_circuit import told_seconds
from autopilot.routing.retry_policy import is_edge_limit
from autopilot.state.edge_account import Admission

if TYPE_CHECKING:
    from collections.abc import Mapping

    from autopilot.http.response_parser import ResponseHead
    from autopilot.relay.downstream import ClientRequest
    from autopilot.request.json_fast import BodyFields
    from autopilot.state.edge_account import EdgePermit
    from autopilot.state.edge_limit import EdgeGovernor

_RATE: Final = b"x-chutes-rl-user"


@dataclass(frozen=True, slots=True)
class Pacing:
    """The governor, and what tells requests apart.

    ``key`` returns the hash of a request's upstream key, ``conversation`` that of its conversation.
    """

    governor: EdgeGovernor
    key: Callable[[ClientRequest], bytes]
    conversation: Callable[[ClientRequest, BodyFields], bytes]


class PacedCalls:
    """The calls of one exchange. `close` it on every path.

    ``resolved`` is called when the first call may be made after a wait, or when a ban forbids it:
    then ``banned`` is true.
    """

    __slots__ = ("_drawn", "_governor", "_head", "_permit", "_since")

    def __init__(
        self, pacing: Pacing, request: ClientRequest, resolved: Callable[[], None]
    ) -> None:
        self._governor = pacing.governor
        self._permit: EdgePermit = pacing.governor.permit(pacing.key(request), resolved)
        self._drawn = False
        self._head: ResponseHead | None = None
        self._since = 0.0

    def begin(self, now: float, conversation: Callable[[], bytes]) -> Admission:
        """Ask for the first call."""
        self._since = now
        admission = self._governor.begin(self._permit, conversation)
        self._drawn = admission is Admission.SENT
        return admission

    @property
    def banned(self) -> bool:
        """Whether a ban forbids the first call, which waited."""
        return self._permit.banned

    @property
    def least_wait(self) -> float:
        """The seconds that the first call waits before it is refused."""
        return self._governor.least_wait

    @property
    def retry_after(self) -> int:
        """The seconds after which a request that is refused may be sent."""
        return self._governor.retry_after(self._permit)

    def resolve(self, now: float) -> float:
        """Note that the wait is over, however it ended; return how long it took."""
        self._drawn = not self._permit.banned
        return milliseconds(now - self._since)

    def give_up(self, now: float) -> float:
        """Note that the request has waited for too long; return how long, in milliseconds."""
        self._governor.give_up(self._permit)
        return milliseconds(now - self._since)

    def may_follow(self) -> bool:
        """Return whether a call could be made now after the one whose token is drawn."""
        return self._governor.may_follow(self._permit)

    def has_plenty(self) -> bool:
        """Return whether the key is far from its limit, so that a call may be spent on speed."""
        return self._governor.has_plenty(self._permit.account.key)

    def draw(self) -> bool:
        """Return whether the next call may be made; its token is drawn once, until it is sent."""
        if not self._drawn:
            self._drawn = self._governor.again(self._permit)
        return self._drawn

    def draw_with(self, key: bytes) -> bool:
        """Return whether the next call may be made with another key, to which it counts."""
        self.close()
        self._permit = self._governor.permit(key, self._permit.resolved)
        self._drawn = False
        return self.draw()

    def sent(self) -> None:
        """Note that a call is made: the next one needs a token of its own."""
        self._drawn = False

    def answered(self, head: ResponseHead, body: bytes) -> None:
        """Note a response, ``body`` as far as it has arrived: the edge's page begins a ban.

        Each head counts once.
        """
        if head is self._head:
            return
        self._head = head
        if head.status == 429:
            seen = reply(head)
            if is_edge_limit(seen, body):
                self._governor.page(self._permit, told_seconds(seen.retry_after, body))
                return
        self._governor.answered(self._permit)

    def stated(self, limits: Mapping[bytes, bytes]) -> None:
        """Note what the platform states of the key's limits."""
        limit = read_limit(limits.get(_RATE))
        if limit is not None:
            self._governor.stated(self._permit.account.key, limit)

    def close(self) -> None:
        """Make no further call."""
        self._governor.close_permit(self._permit)
