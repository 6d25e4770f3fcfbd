"""The governor of a router with workers: the parent has the tokens, from which workers lease.

A worker keeps a few calls of a key ready while there is plenty, and gives back what it does not use
within a second; otherwise it waits in the parent's queue, where workers take turns. What it has
leased is missing from the parent's bucket, which fills meanwhile: so the parent's burst is smaller
by what it gains in that second, and workers together send no more than one process would.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from math import inf
from typing import TYPE_CHECKING, Final

from autopilot.state.edge_account import (
    ADDRESS,
    ASKING,
    Admission,
    EdgeAccount,
    EdgeConfig,
    EdgePermit,
)
from autopilot.state.edge_limit import EdgeGovernor
from autopilot.state.edge_notes import Answered, Back, Banned, Grant, Lost, Note, Page, Stated, Want

if TYPE_CHECKING:
    from twisted.internet.interfaces import IDelayedCall, IReactorTime

SPARE: Final = 4
"""Calls of a key that a worker keeps ready while there is plenty."""

MOST_WANTED: Final = 32
"""Calls of a key for which a worker waits in the parent's queue at a time."""

LEASED_FOR: Final = 1.0
"""Seconds within which a call that was granted is made, or given back."""

Send = Callable[[Note], None]


def lending(config: EdgeConfig) -> EdgeConfig:
    """Return the rules of a parent that lends."""
    return replace(config, burst=1.0 - LEASED_FOR / 60.0)


@dataclass(slots=True)
class _Lease:
    """What a worker has of a key: when each call that it may make expires, and what it wants.

    ``asked``: it has asked for spare calls and not been granted any, within the last second.
    """

    expiries: deque[float] = field(default_factory=deque)
    wanted: int = 0
    asked: bool = False


class LeasingGovernor(EdgeGovernor):
    """The governor of a worker. Until `send` is set, nothing is sent, and first calls wait."""

    least_wait = ASKING

    def __init__(self, clock: IReactorTime, config: EdgeConfig) -> None:
        super().__init__(clock, config)
        self.send: Send = lambda note: None
        self._leases: dict[bytes, _Lease] = {}
        self._tidying: IDelayedCall | None = None

    def received(self, note: Note) -> None:
        """Take a message of the parent."""
        if isinstance(note, Grant):
            lease, account = self._lease(note.key), self._account(note.key)
            lease.expiries.extend([note.at + LEASED_FOR] * note.calls)
            lease.wanted = max(0, lease.wanted - note.calls)
            lease.asked = lease.asked and not note.calls
            self._tidy_later()
            self._grant(account)
        elif isinstance(note, Banned):
            self._ban(self._account(note.key), note.seconds, self._clock.seconds())

    def close(self) -> None:
        """See `EdgeGovernor`."""
        super().close()
        if self._tidying is not None:
            self._tidying.cancel()
            self._tidying = None

    def close_permit(self, permit: EdgePermit) -> None:
        """See `EdgeGovernor`; the parent learns if fewer wait, or if a probe saw nothing."""
        waited, probes = permit.waits_since is not None, self.is_probing(permit)
        super().close_permit(permit)
        if probes:
            self.send(Lost(permit.account.key))
        if waited:
            self._want(permit.account)

    def answered(self, permit: EdgePermit) -> None:
        """See `EdgeGovernor`; the parent waits for the end of the ban."""
        account = permit.account
        probes = self.is_probing(permit)
        super().answered(permit)
        if probes:
            self.send(Answered(account.key))

    def page(self, permit: EdgePermit, told: float | None) -> None:
        """See `EdgeGovernor`; the other workers are to know."""
        super().page(permit, told)
        self.send(Page(permit.account.key, told))

    def stated(self, key: bytes, limit: float) -> None:
        """See `EdgeGovernor`."""
        before = self._account(key).stated
        super().stated(key, limit)
        if self._account(key).stated != before:
            self.send(Stated(key, -1.0 if limit == inf else limit))

    def _ban(self, account: EdgeAccount, told: float | None, now: float) -> None:
        """See `EdgeGovernor`; what was leased before is void, so that there is one probe."""
        super()._ban(account, told, now)
        if account is self._address:
            self._leases.clear()
        else:
            self._leases.pop(account.key, None)

    def _take(self, account: EdgeAccount, now: float) -> bool:
        if self._rate(account).unlimited:
            return True
        lease = self._fresh(account.key, now)
        if not lease.expiries:
            return False
        lease.expiries.popleft()
        self._ask(account, lease)
        return True

    def _seconds_to(self, account: EdgeAccount, tokens: int, now: float) -> float:
        """Return zero, or an estimate: the parent alone knows what others wait for."""
        rate = self._rate(account)
        if rate.unlimited or self._fresh(account.key, now).expiries:
            return 0.0
        return tokens * 60.0 / rate.per_minute

    def _schedule(self, account: EdgeAccount, now: float) -> None:
        if self._is_free(account, None):
            self._want(account)

    def _want(self, account: EdgeAccount) -> None:
        """Ask for what is waited for, and no more."""
        lease, wanted = self._lease(account.key), min(len(account.queue), MOST_WANTED)
        if wanted != lease.wanted:
            lease.wanted = wanted
            self._ask(account, lease, always=True)

    def _ask(self, account: EdgeAccount, lease: _Lease, *, always: bool = False) -> None:
        """Ask for a few more calls as well, once those that are ready are few."""
        few = len(lease.expiries) <= SPARE // 2 and not (lease.asked or account.is_banned)
        lease.asked = lease.asked or few
        if few or always:
            spare = SPARE - len(lease.expiries) if few else 0
            self.send(Want(account.key, lease.wanted, spare))

    def _lease(self, key: bytes) -> _Lease:
        lease = self._leases.get(key)
        if lease is None:
            lease = self._leases[key] = _Lease()
            self._tidy_later()
        return lease

    def _fresh(self, key: bytes, now: float) -> _Lease:
        """Return a lease after giving back what has expired of it."""
        lease, expired = self._lease(key), 0
        while lease.expiries and lease.expiries[0] <= now:
            lease.expiries.popleft()
            expired += 1
        if expired:
            self.send(Back(key, expired))
        return lease

    def _tidy_later(self) -> None:
        if self._tidying is None:
            self._tidying = self._clock.callLater(LEASED_FOR, self._tidy)

    def _tidy(self) -> None:
        """Give back the calls of keys that are not used, and forget those keys."""
        self._tidying, now = None, self._clock.seconds()
        for key in tuple(self._leases):
            lease = self._fresh(key, now)
            lease.asked = False
            if not (lease.expiries or lease.wanted):
                del self._leases[key]
        if self._leases:
            self._tidy_later()


@dataclass(eq=False)
class Borrower:
    """A worker, as the parent sees it; ``name`` stands for it in the queues of keys."""

    name: bytes
    send: Send
    waiting: dict[bytes, list[EdgePermit]] = field(default_factory=dict)
    probing: dict[bytes, EdgePermit] = field(default_factory=dict)


class EdgeLender:
    """Lends the calls of the parent's governor to the workers."""

    def __init__(self, governor: EdgeGovernor) -> None:
        self._governor = governor
        self._borrowers: dict[Borrower, None] = {}
        governor.ban_learned = self._tell_ban

    def join(self, name: bytes, send: Send) -> Borrower:
        """Return a new worker, which knows of no ban yet."""
        borrower = Borrower(name, send)
        self._borrowers[borrower] = None
        for standing in self._governor.standing(MOST_WANTED):
            if standing.banned_for:
                send(Banned(standing.key, standing.banned_for))
        return borrower

    def leave(self, borrower: Borrower) -> None:
        """Forget a worker that has ended."""
        self._borrowers.pop(borrower, None)
        permits = [each for waiting in borrower.waiting.values() for each in waiting]
        borrower.waiting = {}
        for permit in (*permits, *borrower.probing.values()):
            self._governor.close_permit(permit)

    def received(self, note: Note, borrower: Borrower) -> None:
        """Take a message of a worker."""
        governor = self._governor
        if isinstance(note, Want):
            self._lend(note, borrower)
        elif isinstance(note, Back):
            governor.put_back(note.key, note.calls)
            self._lose_probe(note.key, borrower)
        elif isinstance(note, Lost):
            self._lose_probe(note.key, borrower)
        elif isinstance(note, Answered):
            permit = borrower.probing.pop(note.key, None)
            if permit is not None:
                governor.answered(permit)
        elif isinstance(note, Page):
            permit = borrower.probing.pop(note.key, None)
            governor.page(permit or governor.permit(note.key, lambda: None), note.told)
            for key in {note.key, ADDRESS}:
                self._tell_ban(key)
        elif isinstance(note, Stated):
            governor.stated(note.key, inf if note.limit < 0 else note.limit)

    def _lose_probe(self, key: bytes, borrower: Borrower) -> None:
        """Let another call show whether a ban is over, because that one was not made."""
        permit = borrower.probing.pop(key, None)
        if permit is not None:
            self._governor.close_permit(permit)

    def _tell_ban(self, key: bytes) -> None:
        seconds = self._governor.banned_for(key)
        if seconds:
            for each in tuple(self._borrowers):
                each.send(Banned(key, seconds))

    def _lend(self, want: Want, borrower: Borrower) -> None:
        """Let as many calls wait as the worker wants, and grant those that may be made at once."""
        key, waiting, granted = want.key, borrower.waiting.setdefault(want.key, []), 0
        while len(waiting) > want.calls:
            self._governor.close_permit(waiting.pop())
        for _ in range(min(want.calls, MOST_WANTED) - len(waiting)):
            permit = self._governor.permit(key, lambda: None)
            permit.resolved = partial(self._resolved, permit, borrower)
            admission = self._governor.begin(permit, lambda: borrower.name)
            if admission is Admission.BANNED:
                borrower.send(Banned(key, self._governor.banned_for(key)))
                break
            if admission is Admission.WAITS:
                waiting.append(permit)
                continue
            granted += 1
            self._keep_prober(permit, borrower)
        for _ in range(min(want.spare, SPARE)):
            granted += self._governor.has_plenty(key) and self._governor.draw(key)
        if not waiting:
            del borrower.waiting[key]
        if granted:
            borrower.send(Grant(key, granted, self._governor.now()))

    def _resolved(self, permit: EdgePermit, borrower: Borrower) -> None:
        key = permit.account.key
        waiting = borrower.waiting.get(key)
        if waiting is not None and permit in waiting:
            waiting.remove(permit)
            if not waiting:
                del borrower.waiting[key]
        if permit.banned:
            borrower.send(Banned(key, self._governor.banned_for(key)))
            return
        self._keep_prober(permit, borrower)
        borrower.send(Grant(key, 1, self._governor.now()))

    def _keep_prober(self, permit: EdgePermit, borrower: Borrower) -> None:
        """Keep the permit whose call shows whether a ban is over, until the worker says so."""
        if self._governor.is_probing(permit):
            borrower.probing[permit.account.key] = permit
