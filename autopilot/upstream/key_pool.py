"""The operator's keys of the platform, which are sent instead of the clients' own.

A conversation stays with its key as long as that key serves; a new one gets the key of which the
most is left, by the quota that the platform states, and of equal ones the one with the fewest
requests in progress. A key that the platform refuses rests: one that has no quota left until it is
reset, one that the edge has banned for as long as that says, one that is not valid for a while.

Bans that the governor of the account knows are its own: a key rests until the moment at which the
governor sends a call with it again, whichever request, worker or router has found the ban.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from math import ceil, inf
from typing import TYPE_CHECKING, Final

from msgspec import Struct
from twisted.logger import Logger

from autopilot.http.headers import RequestHeaders, field_lines, sent_up
from autopilot.observability.key_counts import KeyCounts, PoolKeyNow
from autopilot.routing.account_limits import quota_left, quota_resets
from autopilot.routing.edge_circuit import told_seconds
from autopilot.routing.retry_policy import is_edge_limit
from autopilot.upstream.key_rests import Rest, Why

if TYPE_CHECKING:
    from autopilot.http.headers import Field
    from autopilot.routing.retry_policy import Reply

MAX_CONVERSATIONS: Final = 100_000
REMEMBERED: Final = 1800.0
"""Seconds for which a conversation stays with its key."""

NO_QUOTA: Final = 300.0
NOT_VALID: Final = 300.0
FIRST_BAN: Final = 60.0
LONGEST_REST: Final = 86_400.0
_QUOTA_COUNTS: Final = 3600.0
_NO_NEWS: Final = 1.0
"""Seconds by which a further refusal prolongs a rest at least, for the other processes to know."""
_PAYMENT, _UNAUTHORIZED = 402, 401
_LEAST_KEY: Final = 8
"""Bytes of the shortest value that is taken for a key where it is repeated."""

CREDENTIALS: Final = frozenset(
    {
        b"authorization",
        b"x-api-key",
        b"api-key",
        b"x-goog-api-key",
        b"x-chutes-hotkey",
        b"x-chutes-signature",
        b"x-chutes-nonce",
    }
)
"""The fields with keys of a client, which are not sent up if the router has keys itself."""


class PlatformKey(Struct, frozen=True):
    """A key with its name, and a hash that stands for its account."""

    name: str
    secret: bytes
    account: bytes

    def __repr__(self) -> str:
        return f"PlatformKey({self.name!r})"


class _Member:
    """A key, and what is known of it."""

    __slots__ = (
        "ban",
        "in_progress",
        "key",
        "left",
        "left_at",
        "paged_until",
        "requests",
        "rests_until",
        "why",
    )

    def __init__(self, key: PlatformKey) -> None:
        self.key = key
        self.in_progress = self.requests = 0
        self.left, self.left_at = 1.0, -inf
        self.rests_until = self.paged_until = -inf
        self.why: Why = "invalid"  # read only while it rests
        self.ban = FIRST_BAN


class KeyPool:
    """Lends keys to requests.

    ``seconds`` is the monotonic clock, ``wall`` returns the seconds since 1970. ``banned_for``
    returns the seconds for which the governor sends nothing with the key of an account. ``told`` is
    called with each rest that a refusal begins, or prolongs, for the other processes.
    """

    _log = Logger()

    def __init__(
        self,
        keys: Iterable[PlatformKey],
        seconds: Callable[[], float],
        wall: Callable[[], float],
        counts: KeyCounts | None = None,
        most: int = MAX_CONVERSATIONS,
        banned_for: Callable[[bytes], float] = lambda account: 0.0,
        told: Callable[[Rest], None] = lambda rest: None,
    ) -> None:
        self._told = told
        self._seconds = seconds
        self._banned_for = banned_for
        self._wall = wall
        self._most = most
        self._members: dict[str, _Member] = {}
        # The key of each conversation, and when it was used last; the oldest first.
        self._sticky: OrderedDict[bytes, tuple[str, float]] = OrderedDict()
        self._counts = KeyCounts() if counts is None else counts
        self.configure(keys)

    def configure(self, keys: Iterable[PlatformKey]) -> None:
        """Lend these keys from now on; one that stays keeps what is known of it."""
        members: dict[str, _Member] = {}
        for key in keys:
            known = self._members.get(key.name)
            same = known is not None and known.key.secret == key.secret
            members[key.name] = known if known is not None and same else _Member(key)
        self._members = members

    def lend(self, conversation: bytes | None) -> KeyLease | None:
        """Lend a key to a request of this conversation; None if all are banned by the edge."""
        member = self._choose(conversation, None)
        return None if member is None else KeyLease(self, member, conversation)

    def retry_after(self) -> int:
        """Return the seconds until a key may be lent again."""
        now = self._seconds()
        rests = [self._rest_of(each, now)[0] for each in self._members.values()]
        return max(1, ceil(round(min(rests, default=1.0), 3)))

    def now(self) -> list[PoolKeyNow]:
        """Return what is known of each key."""
        now, found = self._seconds(), []
        for each in self._members.values():
            rests, why = self._rest_of(each, now)
            left = each.left if now - each.left_at < _QUOTA_COUNTS else None
            found.append(
                PoolKeyNow(each.key.name, each.in_progress, each.requests, left, rests or None, why)
            )
        return found

    def resting(self) -> list[str]:
        """Return the names of the keys that rest."""
        now = self._seconds()
        return [each.key.name for each in self._members.values() if self._rest_of(each, now)[0]]

    def rests(self) -> list[Rest]:
        """Return the rests that a refusal began, but for the bans that the governor knows."""
        now = self._seconds()
        return [
            Rest(each.key.account, each.why, each.rests_until - now)
            for each in self._members.values()
            if each.rests_until > now
        ]

    def heard(self, rest: Rest) -> None:
        """Let a key rest that another process has found to be refused, if it is in the pool.

        That process has counted it, and written it to the log.
        """
        now = self._seconds()
        for member in self._members.values():
            if member.key.account == rest.account:
                _prolong(member, min(rest.seconds, LONGEST_REST), rest.why, now)

    def _choose(self, conversation: bytes | None, avoid: _Member | None) -> _Member | None:
        now = self._seconds()
        rests = [(each, *self._rest_of(each, now)) for each in self._members.values()]
        fresh = [each for each, seconds, _ in rests if not seconds and each is not avoid]
        if not fresh:
            if avoid is not None:
                return None
            # All are refused. A call without a quota does no harm, and there may be one again.
            fresh = [each for each, _, why in rests if why != "edge"]
            return min(fresh, key=lambda each: each.rests_until, default=None)
        known = None if conversation is None else self._sticky.get(conversation)
        if known is not None and now - known[1] < REMEMBERED:
            member = self._members.get(known[0])
            if member in fresh:
                return member
        return max(
            fresh, key=lambda each: (self._left(each, now), -each.in_progress, -each.requests)
        )

    def _left(self, member: _Member, now: float) -> float:
        """Return the share of a key's quota that is left; one that is not known counts as whole."""
        return member.left if now - member.left_at < _QUOTA_COUNTS else 1.0

    def _begin(self, member: _Member, conversation: bytes | None) -> None:
        member.in_progress += 1
        member.requests += 1
        self._counts.lent(member.key.name)
        if conversation is not None:
            self._sticky[conversation] = member.key.name, self._seconds()
            self._sticky.move_to_end(conversation)
            if len(self._sticky) > self._most:
                self._sticky.popitem(last=False)

    def _rest(self, member: _Member, seconds: float, why: Why) -> None:
        now = self._seconds()
        self._note(member, seconds, why, now)
        before = member.why, member.rests_until + _NO_NEWS
        _prolong(member, seconds, why, now)
        if member.why != before[0] or member.rests_until >= before[1]:
            self._told(Rest(member.key.account, member.why, member.rests_until - now))

    def _rest_of(self, member: _Member, now: float) -> tuple[float, str]:
        """Return for how many seconds a key still rests, and why; 0 if it may be lent."""
        own, banned = max(0.0, member.rests_until - now), self._banned_for(member.key.account)
        if banned:
            return max(own, banned), "edge"
        return own, member.why if own else ""

    def _page(self, member: _Member, told: float | None) -> None:
        """Note the edge's page, unless it answers a call from before the ban."""
        now, governed = self._seconds(), self._banned_for(member.key.account)
        if governed:
            if member.paged_until <= now:
                self._note(member, governed, "edge", now)
                member.paged_until = now + governed
        elif not (member.why == "edge" and member.rests_until > now):
            self._rest(member, min(member.ban if told is None else told, LONGEST_REST), "edge")
            member.ban = min(2 * member.ban, LONGEST_REST)

    def _note(self, member: _Member, seconds: float, why: Why, now: float) -> None:
        """Count a rest, and log it unless the key rests already."""
        self._counts.rested(member.key.name, why)
        if member.rests_until <= now:
            self._log.warn(
                "CHUTES_API_KEYS_FILE: the key {name} rests for {seconds:.0f} s: {why}",
                name=member.key.name,
                seconds=seconds,
                why=_WHY[why],
            )


def _prolong(member: _Member, seconds: float, why: Why, now: float) -> None:
    """Let a key rest, or for longer than it does.

    A ban stays one until its end, whatever else is said of the key meanwhile.
    """
    if not (member.why == "edge" and member.rests_until > now):
        member.why = why
    member.rests_until = max(member.rests_until, now + seconds)


_WHY: Final[Mapping[Why, str]] = {
    "quota": "its quota is used up (402)",
    "edge": "the platform's edge has banned it (429)",
    "invalid": "the platform does not accept it (401)",
}


class KeyLease:
    """The key that a request has; another one, once, if the platform refuses the first."""

    __slots__ = ("_conversation", "_member", "_open", "_pool", "_switched")

    def __init__(self, pool: KeyPool, member: _Member, conversation: bytes | None) -> None:
        self._pool = pool
        self._member = member
        self._conversation = conversation
        self._open, self._switched = True, False
        pool._begin(member, conversation)

    def __repr__(self) -> str:
        return f"KeyLease({self.name!r})"

    @property
    def name(self) -> str:
        """The name of the key."""
        return self._member.key.name

    @property
    def account(self) -> bytes:
        """The hash that stands for the key's account."""
        return self._member.key.account

    @property
    def secret(self) -> bytes:
        """The key."""
        return self._member.key.secret

    @property
    def authorization(self) -> bytes:
        """The value of the field with the key."""
        return b"Bearer " + self._member.key.secret

    def headers(self, given: RequestHeaders) -> RequestHeaders:
        """Return a request's fields with this key instead of the client's.

        A field that repeats the client's key is left out as well. ``named`` stays: by it the router
        knows its client.
        """
        fields: list[Field] = []
        keys: set[bytes] = set()
        for name, value in given.fields:
            if name.lower().replace(b"_", b"-") in CREDENTIALS:
                keys.update(each for each in value.split()[-1:] if len(each) >= _LEAST_KEY)
            else:
                fields.append((name, value))
        fields = [each for each in fields if not any(key in each[1] for key in keys)]
        fields.append((b"Authorization", self.authorization))
        return RequestHeaders(fields, given.named, field_lines(sent_up(fields)))

    def stated(self, limits: Mapping[bytes, bytes], now: float) -> None:
        """Note what the platform states of the key's quota, and that it serves."""
        member, left = self._member, quota_left(limits)
        if left is not None:
            member.left, member.left_at = left, now

    def served(self) -> None:
        """Note an answer with this key: the next ban is a first one again."""
        self._member.ban = FIRST_BAN

    def refused(self, reply: Reply, body: bytes, *, switches: bool = True) -> bool:
        """Note an error of the platform, which may be about the key.

        Return whether another key takes its place; that is once for a request.
        """
        member, pool = self._member, self._pool
        if is_edge_limit(reply, body):
            pool._page(member, told_seconds(reply.retry_after, body))
        elif reply.status == _PAYMENT:
            # A time that is past says nothing: the key is refused for another reason.
            wait = (quota_resets(body) or 0.0) - pool._wall()
            pool._rest(member, min(wait if wait > 0 else NO_QUOTA, LONGEST_REST), "quota")
        elif reply.status == _UNAUTHORIZED:
            pool._rest(member, NOT_VALID, "invalid")
        else:
            return False
        if self._switched or not switches:
            return False
        other = pool._choose(self._conversation, member)
        if other is None:
            return False
        self._switched = True
        member.in_progress -= 1
        self._member = other
        pool._begin(other, self._conversation)
        return True

    def retry_after(self) -> int:
        """Return the seconds until a key of the pool may be lent."""
        return self._pool.retry_after()

    def masked(self, body: bytes) -> bytes:
        """Return a body without the key, should an upstream repeat it; the length stays."""
        secret = self._member.key.secret
        return body.replace(secret, b"*" * len(secret)) if secret in body else body

    def cleaned(self, fields: Iterable[Field]) -> list[Field]:
        """Return the fields of a response without the key, and without its account's limits."""
        secret = self._member.key.secret
        return [
            each
            for each in fields
            if secret not in each[1] and not each[0].lower().startswith(_ACCOUNTS)
        ]

    def end(self) -> None:
        """Give the key back, once."""
        if self._open:
            self._open = False
            self._member.in_progress -= 1


_ACCOUNTS: Final = (b"x-chutes-quota-", b"x-chutes-rl-", b"x-chutes-invoice-", b"x-ratelimit-")
