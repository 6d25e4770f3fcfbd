"""The account's governor: when a request may be sent without a ban by the platform's edge.

It has a token bucket for each upstream key, which is known by a keyed hash alone, and a circuit for
each key and for the router's address. First tries wait for a token, further calls do without one.
A page of the edge opens the circuit: nothing is sent until the ban is over, then one probe, which
closes it (wire §5.2). Everything else about time is computed in `autopilot.routing`.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from itertools import islice
from math import ceil, inf
from typing import TYPE_CHECKING, Final

from autopilot.routing import edge_circuit, token_bucket
from autopilot.routing.token_bucket import Rate
from autopilot.state.edge_account import (
    ADDRESS,
    Admission,
    EdgeAccount,
    EdgeConfig,
    EdgePermit,
    KeyStanding,
)
from autopilot.state.edge_counts import BANNED, PASSED, REFUSED, WAITED, WITHHELD, EdgeCounts

if TYPE_CHECKING:
    from twisted.internet.interfaces import IReactorTime

    from autopilot.routing.edge_circuit import EdgeBan

MAX_KEYS: Final = 10_000
"""Keys that are kept; the one used least recently makes room, unless it waits or is banned."""

_STATED_FOR: Final = 3600.0
_BANNED_KEYS: Final = 3
_BANNED_WITHIN: Final = 60.0
_PINNED_SKIPPED: Final = 8
_EXAMINED: Final = 2000


class EdgeGovernor:
    """The buckets and circuits of all keys.

    At the time ``started`` each bucket has one token: a router that starts does not know what its
    predecessor has sent, which may have been a whole burst a moment before. One call is what the
    edge counts while it starts, and after a minute all is as if it had never been away. By default
    it has started long ago.
    """

    least_wait = 0.0
    """Seconds for which a first call waits although it may wait for no token."""

    def __init__(
        self,
        clock: IReactorTime,
        config: EdgeConfig,
        counts: EdgeCounts | None = None,
        max_keys: int = MAX_KEYS,
        started: float = -inf,
    ) -> None:
        self._clock = clock
        self._config = config
        self._max_keys = max_keys
        self.counts = EdgeCounts() if counts is None else counts
        self._started = started
        self._address = self._new(ADDRESS)
        # The one used least recently first.
        self._accounts: OrderedDict[bytes, EdgeAccount] = OrderedDict()
        self._waiting: dict[bytes, EdgeAccount] = {}
        self._paged: dict[bytes, float] = {}
        self.ban_learned: Callable[[bytes], None] = lambda key: None
        """Called with a key after another router has found that it is banned."""

    def configure(self, config: EdgeConfig) -> None:
        """Apply other rules, to those that wait as well."""
        self._config = config
        for account in tuple(self._waiting.values()):
            self._grant(account)

    def permit(self, key: bytes, resolved: Callable[[], None]) -> EdgePermit:
        """Return the permit of a request, by the hash of its key; close it on every path."""
        return EdgePermit(self._account(key), resolved)

    def draw(self, key: bytes = ADDRESS) -> bool:
        """Return whether the router may make a call of its own now; if so, it counts.

        Such a call is no probe, so that there is none until a request has ended a ban.
        """
        account = self._account(key)
        if account.is_banned or self._address.is_banned:
            self.counts.count(WITHHELD)
            return False
        return self._again(account, None)

    def stand_in(self, permit: EdgePermit) -> bool:
        """Return whether a call is to show in a request's place whether a ban is over.

        Such a request may have to wait for another call with its key, which would wait for it in
        turn. If so, the call counts.
        """
        account, now = permit.account, self._clock.seconds()
        held = [each for each in (account, self._address) if each.prober is not None]
        if not held or any(each.prober.account is not account for each in held if each.prober):
            return False
        if self._banned_until(account, now) > now or not self._take(account, now):
            return False
        for each in held:
            each.prober = permit
        self.counts.count(PASSED)
        return True

    def stated(self, key: bytes, limit: float) -> None:
        """Note the limit that the platform states for a key.

        It states none for the calls of a private chute, which says nothing about the others: so a
        number counts for an hour.
        """
        account, now = self._account(key), self._clock.seconds()
        counts = account.stated not in (None, inf) and now - account.stated_at < _STATED_FOR
        if limit <= 0 or (limit == inf and counts):
            return
        account.stated_at = now
        if account.stated != limit:
            before, account.stated = self._rate(account), limit
            if self._is_young():
                account.bucket = token_bucket.without_gain(
                    account.bucket, before, self._rate(account), now
                )
            self._grant(account)

    def now(self) -> float:
        """Return the clock's time."""
        return self._clock.seconds()

    def lend(self, key: bytes) -> None:
        """Keep a call that was drawn for a worker, until it is made or given back."""
        account = self._account(key)
        if not self._rate(account).unlimited:
            account.bucket = token_bucket.put_back(account.bucket, 1)
            account.lent += 1

    def made(self, key: bytes, calls: int) -> None:
        """Note that workers have made calls that were kept for them."""
        account, now = self._account(key), self._clock.seconds()
        calls = min(calls, account.lent)
        account.lent -= calls
        account.bucket = token_bucket.spent(account.bucket, self._rate(account), now, calls)

    def give_back(self, key: bytes, calls: int) -> None:
        """Take back calls that were kept for a worker and not made."""
        account = self._account(key)
        account.lent = max(0, account.lent - calls)
        if account.queue:
            self._grant(account)

    def has_plenty(self, key: bytes) -> bool:
        """Return whether more than half of a key's burst may be sent at once."""
        account, now = self._account(key), self._clock.seconds()
        rate = self._rate(account)
        return self._left(account, now) > rate.burst / 2 and not account.queue

    def banned_for(self, key: bytes) -> float:
        """Return how many seconds nothing is sent with a key from now on."""
        now = self._clock.seconds()
        return max(0.0, self._banned_until(self._account(key), now) - now)

    def is_probing(self, permit: EdgePermit) -> bool:
        """Return whether the call of a request shows whether a ban is over."""
        return permit.account.prober is permit or self._address.prober is permit

    def standing(self, most: int) -> list[KeyStanding]:
        """Return the address and the keys of which something is to be seen, the latest first."""
        now, shown = self._clock.seconds(), [self._standing(self._address)]
        for account in islice(reversed(self._accounts.values()), _EXAMINED):
            if len(shown) > most:
                break
            rate = self._rate(account)
            full = self._left(account, now) >= rate.burst
            if not full or account.queue or account.is_banned:
                shown.append(self._standing(account))
        return shown

    @property
    def waiting(self) -> int:
        """The number of requests that wait."""
        return sum(len(each.queue) for each in self._waiting.values())

    @property
    def banned(self) -> int:
        """The number of keys that are banned; the address counts as one."""
        accounts = (self._address, *self._accounts.values())
        return sum(each.is_banned for each in accounts)

    def close(self) -> None:
        """Hold no call of the clock any more."""
        for account in tuple(self._waiting.values()):
            self._cancel(account)

    # -- tokens

    def _rate(self, account: EdgeAccount) -> Rate:
        """Return this router's rate of a key."""
        return self._whole(account)

    def _share(self, account: EdgeAccount) -> float:
        """Return the part of a key's limit that this router has."""
        return 1.0

    def _whole(self, account: EdgeAccount) -> Rate:
        """Return the rate of a key, whoever uses it."""
        config, stated = self._config, account.stated
        rate = min(config.most, config.usual if stated is None else stated)
        return Rate(rate, max(1.0, rate * config.burst))

    def _left(self, account: EdgeAccount, now: float) -> float:
        """Return the number of calls that are neither made nor lent."""
        tokens = token_bucket.available(account.bucket, self._rate(account), now)
        return max(0.0, tokens - account.lent)

    def _take(self, account: EdgeAccount, now: float) -> bool:
        """Take a token, if there is one."""
        lent = account.lent
        bucket = token_bucket.take(account.bucket, self._rate(account), now, 1 + lent)
        if bucket is None:
            return False
        account.bucket = token_bucket.put_back(bucket, lent) if lent else bucket
        return True

    def _seconds_to(self, account: EdgeAccount, tokens: int, now: float) -> float:
        """Return the seconds until an account has this many tokens."""
        return token_bucket.wait(account.bucket, self._rate(account), now, tokens + account.lent)

    # -- the calls of requests

    def begin(self, permit: EdgePermit, conversation: Callable[[], bytes]) -> Admission:
        """Ask for the first call of a request.

        ``conversation`` returns the hash of its conversation; it is called only if it must wait.
        """
        account, now = permit.account, self._clock.seconds()
        if self._banned_until(account, now) > now:
            self.counts.count(BANNED)
            return Admission.BANNED
        if not account.queue and self._is_free(account, None) and self._take(account, now):
            self._probe(account, permit)
            self.counts.count(PASSED)
            return Admission.SENT
        permit.waits_since, permit.conversation = now, conversation()
        account.queue.add(permit.conversation, permit)
        self._waiting[account.key] = account
        self._schedule(account, now)
        return Admission.WAITS

    def may_follow(self, permit: EdgePermit) -> bool:
        """Return whether a request could make a further call now, without counting one."""
        return self._has_token(permit.account, permit)

    def again(self, permit: EdgePermit) -> bool:
        """Return whether a request may make a further call now; if so, it counts."""
        return self._again(permit.account, permit)

    def give_up(self, permit: EdgePermit) -> None:
        """Note that a request that waits is refused."""
        self.counts.count(REFUSED)
        self.close_permit(permit)

    def retry_after(self, permit: EdgePermit) -> int:
        """Return the seconds after which a request that is refused may be sent."""
        account, now = permit.account, self._clock.seconds()
        until = self._banned_until(account, now)
        if until > now:
            seconds = until - now
        else:
            seconds = self._seconds_to(account, len(account.queue) + 1, now)
        return max(1, ceil(round(seconds, 3)))

    def close_permit(self, permit: EdgePermit) -> None:
        """End a request's calls; another one may take its turn, or probe in its place."""
        account = permit.account
        if permit.waits_since is not None:
            permit.waits_since = None
            account.queue.remove(permit.conversation, permit)
            if not account.queue:
                self._rest(account)
        if self.is_probing(permit):
            # It saw nothing of the edge.
            self._end_probe(permit, is_over=False)

    def _has_token(self, account: EdgeAccount, permit: EdgePermit | None) -> bool:
        now = self._clock.seconds()
        return (
            not account.queue
            and self._banned_until(account, now) <= now
            and self._is_free(account, permit)
            and self._seconds_to(account, 1, now) == 0.0
        )

    def _again(self, account: EdgeAccount, permit: EdgePermit | None) -> bool:
        if not self._has_token(account, permit) or not self._take(account, self._clock.seconds()):
            self.counts.count(WITHHELD)
            return False
        if permit is not None:
            self._probe(account, permit)
        self.counts.count(PASSED)
        return True

    def _grant(self, account: EdgeAccount) -> None:
        """Let those send whose turn it is, and schedule the next one's."""
        self._cancel(account)
        now = self._clock.seconds()
        while account.queue and self._is_free(account, None) and self._take(account, now):
            permit = account.queue.pop()
            self._probe(account, permit)
            self._resolve(permit, WAITED, now)
        if account.queue:
            self._schedule(account, now)
        else:
            self._rest(account)

    def _resolve(self, permit: EdgePermit, outcome: str, now: float) -> None:
        since, permit.waits_since = permit.waits_since, None
        self.counts.count(outcome)
        if outcome is WAITED and since is not None:
            self.counts.waits.observe(now - since)
        permit.resolved()

    def _schedule(self, account: EdgeAccount, now: float) -> None:
        """Wait for the next token, unless a probe is on its way: its end continues."""
        if account.call is None and self._is_free(account, None):
            seconds = self._seconds_to(account, 1, now)
            account.call = self._clock.callLater(seconds, self._due, account)

    def _due(self, account: EdgeAccount) -> None:
        account.call = None
        self._grant(account)

    def _rest(self, account: EdgeAccount) -> None:
        """Hold nothing for an account whose queue is empty."""
        self._cancel(account)
        self._waiting.pop(account.key, None)

    # -- bans

    def answered(self, permit: EdgePermit) -> None:
        """Note that a request has got something else than the edge's page: a ban is over."""
        if self.is_probing(permit):
            self._end_probe(permit, is_over=True)

    def page(self, permit: EdgePermit, told: float | None) -> None:
        """Note the edge's page, which begins a ban; ``told`` is how long it says that it lasts."""
        account, now = permit.account, self._clock.seconds()
        self.counts.pages.values[()] += 1
        probed_address = self._address.prober is permit
        self._ban(account, told, now)
        if account is self._address:
            return
        self._paged[account.key] = now
        for key in [key for key, at in self._paged.items() if now - at > _BANNED_WITHIN]:
            del self._paged[key]
        # So many keys at a time are not banned for what each of them did.
        if probed_address or len(self._paged) >= _BANNED_KEYS:
            self._ban(self._address, told, now)

    def _banned_until(self, account: EdgeAccount, now: float) -> float:
        if not (account.is_banned or self._address.is_banned):  # the usual case without a call
            return -inf
        return max(account.banned_until(now), self._address.banned_until(now))

    def _is_free(self, account: EdgeAccount, permit: EdgePermit | None) -> bool:
        return account.is_free_for(permit) and self._address.is_free_for(permit)

    def _probe(self, account: EdgeAccount, permit: EdgePermit) -> None:
        """Note that this request shows whether a ban is over, if there is one."""
        for each in (account, self._address):
            if each.is_banned:
                each.prober = permit

    def _end_probe(self, permit: EdgePermit, *, is_over: bool) -> None:
        for each in (permit.account, self._address):
            if each.prober is not permit:
                continue
            each.prober = None
            if is_over:
                each.is_banned = False
                self._paged.pop(each.key, None)
            held = tuple(self._waiting.values()) if each is self._address else (each,)
            for account in held:
                if account.queue:
                    self._grant(account)

    def _ban(self, account: EdgeAccount, told: float | None, now: float) -> None:
        """Begin a ban; a page that answers a call from before it changes nothing."""
        account.prober = None
        if account.banned_until(now) > now:
            return
        self._begin_ban(account, edge_circuit.ban(account.ban, told, now), now)

    def _begin_ban(self, account: EdgeAccount, ban: EdgeBan, now: float) -> None:
        account.ban, account.is_banned = ban, True
        waiting = tuple(self._waiting.values()) if account is self._address else (account,)
        for each in waiting:
            self._rest(each)
            while each.queue:
                permit = each.queue.pop()
                permit.banned = True
                self._resolve(permit, BANNED, now)

    # -- accounts

    def _account(self, key: bytes) -> EdgeAccount:
        if key == ADDRESS:
            return self._address
        accounts = self._accounts
        account = accounts.get(key)
        if account is not None:
            accounts.move_to_end(key)
            return account
        if len(accounts) >= self._max_keys:
            self._make_room()
        account = accounts[key] = self._new(key)
        return account

    def _new(self, key: bytes) -> EdgeAccount:
        account = EdgeAccount(key)
        if self._is_young():
            account.bucket = token_bucket.with_one(self._whole(account), self._started)
        return account

    def _is_young(self) -> bool:
        """Return whether the router may not know all the calls of the last minute."""
        return self._clock.seconds() < self._started + 60.0

    def _make_room(self) -> None:
        """Forget the key that was used least recently, unless it waits or is banned."""
        accounts = self._accounts
        for _ in range(_PINNED_SKIPPED):
            account = next(iter(accounts.values()))
            if not (account.queue or account.is_banned):
                break
            accounts.move_to_end(account.key)
        accounts.popitem(last=False)

    def _standing(self, account: EdgeAccount) -> KeyStanding:
        now = self._clock.seconds()
        return KeyStanding(
            account.key,
            self._whole(account).per_minute,
            self._left(account, now),
            len(account.queue),
            max(0.0, account.banned_until(now) - now),
            self._share(account),
        )

    def _cancel(self, account: EdgeAccount) -> None:
        call, account.call = account.call, None
        if call is not None and call.active():
            call.cancel()
