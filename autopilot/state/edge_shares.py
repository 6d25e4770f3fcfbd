"""The governor of a router that shares the limits of keys with other routers.

It calls with a key while it has a share of the key's limit, which the `Sharer` gets from the store.
Until it has one, first tries wait. While the store is gone it goes on with the shares that it had;
of other keys it has the share that it would have if all routers used them.
"""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING, Protocol

from autopilot.routing import token_bucket
from autopilot.routing.token_bucket import FULL, Rate, TokenBucket
from autopilot.state.edge_account import ADDRESS, ASKING, EdgeAccount, EdgePermit
from autopilot.state.edge_limit import MAX_KEYS, EdgeGovernor

if TYPE_CHECKING:
    from twisted.internet.interfaces import IReactorTime

    from autopilot.routing.edge_circuit import EdgeBan
    from autopilot.state.edge_account import EdgeConfig
    from autopilot.state.edge_counts import EdgeCounts


class Sharer(Protocol):
    """Gets shares of limits, and knows the bans that others find."""

    @property
    def available(self) -> bool:
        """Whether there is somewhere to get them from."""

    def used(self, key: bytes) -> None:
        """Note that a call is made with a key, or wanted."""

    def wants_probe(self, key: bytes) -> None:
        """Ask for the right to find out whether the ban of a key is over."""

    def probed(self, key: bytes, *, is_over: bool) -> None:
        """Note that there is no probe any more: the ban is over, or it saw nothing."""

    def banned(self, key: bytes, ban: EdgeBan) -> None:
        """Note a ban that this router has found."""


class SharingGovernor(EdgeGovernor):
    """See the module. Without a `sharer` it is an `EdgeGovernor`.

    ``replicas`` is the number of routers that share, as far as is known.
    """

    least_wait = ASKING

    def __init__(
        self,
        clock: IReactorTime,
        config: EdgeConfig,
        counts: EdgeCounts | None = None,
        max_keys: int = MAX_KEYS,
        started: float = -inf,
    ) -> None:
        self.sharer: Sharer | None = None
        self.replicas = 1
        self._shares: dict[bytes, float] = {}
        # The parts of keys that are used although there is no share of them.
        self._without: dict[bytes, float] = {}
        # Banned keys whose end this router may find out.
        self._probing: set[bytes] = set()
        super().__init__(clock, config, counts, max_keys, started)

    # -- shares

    def has(self, key: bytes) -> float:
        """Return the share of a key's limit that this router has."""
        return self._shares.get(key, 0.0)

    def is_needed(self, key: bytes) -> bool:
        """Return whether requests wait for a key, or one shows whether its ban is over."""
        account = self._account(key)
        return bool(account.queue) or account.prober is not None

    def lower(self, key: bytes, share: float) -> float:
        """Go down to a share, and return what is in the rest, in bursts of the whole.

        With none the key is forgotten until it is used again.
        """
        account, had, now = self._account(key), self.has(key), self._clock.seconds()
        whole = self._whole(account)
        if whole.unlimited or had <= share:
            if not share:
                self._set(account, 0.0, 0.0, now)
            return 0.0
        tokens = self._left(account, now)
        self._set(account, share, tokens * share / had + account.lent, now)
        return tokens * (1.0 - share / had) / whole.burst

    def grant(self, key: bytes, share: float, fill: float) -> None:
        """Have this share from now on, and so much more of a burst of the whole."""
        account, had, now = self._account(key), self.has(key), self._clock.seconds()
        whole = self._whole(account)
        if whole.unlimited:
            self._shares[key] = share
            return
        tokens, own = fill * whole.burst, self._rate(account)
        left = token_bucket.available(account.bucket, own, now)
        if key in self._without:
            # It was used without a share; what is in the pool may be what others have left.
            tokens = min(tokens, left)
        elif had:
            tokens += left * min(1.0, share / had)
        self._set(account, share, tokens, now)
        self._grant(account)

    def retry(self, key: bytes) -> None:
        """Let those of a key send who may, because something else has changed."""
        self._grant(self._account(key))

    def _set(self, account: EdgeAccount, share: float, tokens: float, now: float) -> None:
        self._without.pop(account.key, None)
        if share > 0.0:
            self._shares[account.key] = share
            missing = max(0.0, self._rate(account).burst - tokens)
            account.bucket = TokenBucket(missing, now)
        else:
            self._shares.pop(account.key, None)
            account.bucket = FULL

    def _may_use(self, account: EdgeAccount) -> bool:
        """Return whether there is a share of a key, or nowhere to get one from."""
        sharer = self.sharer
        if sharer is None or self._whole(account).unlimited:
            return True
        sharer.used(account.key)
        if self.has(account.key) > 0.0:
            return True
        if sharer.available:
            return False
        self._without.setdefault(account.key, 1.0 / self.replicas)
        return True

    def _rate(self, account: EdgeAccount) -> Rate:
        whole = self._whole(account)
        if self.sharer is None or whole.unlimited:
            return whole
        share = self._share(account)
        return Rate(whole.per_minute * share, max(1.0, whole.burst * share))

    def _share(self, account: EdgeAccount) -> float:
        if self.sharer is None or self._whole(account).unlimited:
            return 1.0
        key = account.key
        return self.has(key) or self._without.get(key) or 1.0 / self.replicas

    def _take(self, account: EdgeAccount, now: float) -> bool:
        return self._may_use(account) and super()._take(account, now)

    def _seconds_to(self, account: EdgeAccount, tokens: int, now: float) -> float:
        if self._may_use(account):
            return super()._seconds_to(account, tokens, now)
        return tokens * 60.0 / self._rate(account).per_minute

    def _schedule(self, account: EdgeAccount, now: float) -> None:
        if self._may_use(account):
            super()._schedule(account, now)

    # -- bans

    def learn(self, key: bytes, ban: EdgeBan) -> None:
        """Note a ban that another router has found."""
        account, now = self._account(key), self._clock.seconds()
        known = account.ban
        if account.is_banned and known is not None and known.until >= ban.until - 1.0:
            return
        account.prober = None
        self._probing.discard(key)
        self._begin_ban(account, ban, now)
        self.ban_learned(key)

    def clear(self, key: bytes) -> None:
        """Note that the ban of a key is over, as another router has found."""
        account = self._account(key)
        if account.is_banned:
            account.is_banned, account.prober = False, None
            self._probing.discard(key)
            self._paged.pop(key, None)
            self._grant(account)

    def may_probe(self, key: bytes, *, may: bool) -> None:
        """Let a request find out whether the ban of a key is over, or none any more."""
        if may and key not in self._probing:
            self._probing.add(key)
            self._grant(self._account(key))
        elif not may:
            self._probing.discard(key)

    def _is_free(self, account: EdgeAccount, permit: EdgePermit | None) -> bool:
        if not super()._is_free(account, permit):
            return False
        sharer = self.sharer
        if sharer is None or not account.is_banned or account.key == ADDRESS:
            return True
        if not sharer.available or account.key in self._probing:
            return True
        if account.banned_until(self._clock.seconds()) < 0.0:
            sharer.wants_probe(account.key)
        return False

    def _end_probe(self, permit: EdgePermit, *, is_over: bool) -> None:
        account = permit.account
        probes = account.prober is permit
        super()._end_probe(permit, is_over=is_over)
        if probes and account.prober is None and account.key != ADDRESS:
            self._probing.discard(account.key)
            if self.sharer is not None:
                self.sharer.probed(account.key, is_over=is_over)

    def _ban(self, account: EdgeAccount, told: float | None, now: float) -> None:
        before = account.ban
        super()._ban(account, told, now)
        ban = account.ban
        # The address is this router's own; others have theirs.
        if ban is None or ban is before or account.key == ADDRESS:
            return
        self._probing.discard(account.key)
        if self.sharer is not None:
            self.sharer.banned(account.key, ban)
