"""The governor of a router with workers: the parent has the tokens, from which workers lease.

A worker keeps a few calls of a key ready while there is plenty, and gives back what it does not use
within a second; otherwise it tells the parent which conversations wait, and these take turns in the
parent's queue, at whichever workers they are. What a worker has leased is not there for others, and
counts as made only when it is: a bucket that filled while calls are out would give more of them
than the edge takes. The parent's burst is smaller by what it gains in that second.
"""

from __future__ import annotations

from collections import Counter, deque
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

    ``wanted`` has the conversation of each call for which the parent lets it wait. ``asked``: it
    has asked for spare calls and not been granted any, within the last second. ``made``: the calls
    that it has made and not told the parent of.
    """

    expiries: deque[float] = field(default_factory=deque)
    wanted: list[bytes] = field(default_factory=list)
    asked: bool = False
    made: int = 0

    def tell_made(self) -> int:
        """Return the number of calls to tell the parent of, once."""
        made, self.made = self.made, 0
        return made


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
            for conversation in reversed(note.turns):
                account.queue.prefer(conversation)
                if conversation in lease.wanted:
                    lease.wanted.remove(conversation)
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
        voided = tuple(self._leases) if account is self._address else (account.key,)
        for key in voided:
            lease = self._leases.pop(key, None)
            if lease is not None and (lease.expiries or lease.made):
                self.send(Back(key, len(lease.expiries), lease.made))

    def _take(self, account: EdgeAccount, now: float) -> bool:
        if self._rate(account).unlimited:
            return True
        lease = self._fresh(account.key, now)
        if not lease.expiries:
            return False
        lease.expiries.popleft()
        lease.made += 1
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
        lease, wanted = self._lease(account.key), account.queue.turns(MOST_WANTED)
        if sorted(wanted) != sorted(lease.wanted):
            lease.wanted = wanted
            self._ask(account, lease, always=True)

    def _ask(self, account: EdgeAccount, lease: _Lease, *, always: bool = False) -> None:
        """Ask for a few more calls as well, once those that are ready are few."""
        few = len(lease.expiries) <= SPARE // 2 and not (lease.asked or account.is_banned)
        lease.asked = lease.asked or few
        if few or always:
            spare = SPARE - len(lease.expiries) if few else 0
            self.send(Want(account.key, tuple(lease.wanted), spare, lease.tell_made()))

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
            self.send(Back(key, expired, lease.tell_made()))
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
            if lease.made:
                self.send(Back(key, 0, lease.tell_made()))
            if not (lease.expiries or lease.wanted):
                del self._leases[key]
        if self._leases:
            self._tidy_later()


@dataclass(eq=False)
class Borrower:
    """A worker, as the parent sees it: which of its calls wait, and which one probes."""

    send: Send
    waiting: dict[bytes, list[EdgePermit]] = field(default_factory=dict)
    probing: dict[bytes, EdgePermit] = field(default_factory=dict)
    lent: Counter[bytes] = field(default_factory=Counter)


class EdgeLender:
    """Lends the calls of the parent's governor to the workers."""

    def __init__(self, governor: EdgeGovernor) -> None:
        self._governor = governor
        self._borrowers: dict[Borrower, None] = {}
        governor.ban_learned = self._tell_ban

    def join(self, send: Send) -> Borrower:
        """Return a new worker, which knows of no ban yet."""
        borrower = Borrower(send)
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
        for key, calls in borrower.lent.items():  # it may have made them
            self._governor.made(key, calls)

    def received(self, note: Note, borrower: Borrower) -> None:
        """Take a message of a worker."""
        governor = self._governor
        if isinstance(note, Want):
            governor.made(note.key, note.made)
            self._settle(note.key, note.made, borrower)
            self._lend(note, borrower)
        elif isinstance(note, Back):
            governor.made(note.key, note.made)
            self._settle(note.key, note.made + note.calls, borrower)
            if note.calls:
                governor.give_back(note.key, note.calls)
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

    def _settle(self, key: bytes, calls: int, borrower: Borrower) -> None:
        """Forget calls that a worker has made or given back, and the key with the last of them."""
        borrower.lent[key] -= calls
        if borrower.lent[key] <= 0:
            del borrower.lent[key]

    def _grant(self, key: bytes, calls: int, turns: tuple[bytes, ...], borrower: Borrower) -> None:
        """Grant calls that were drawn."""
        borrower.lent[key] += calls
        for _ in range(calls):
            self._governor.lend(key)
        borrower.send(Grant(key, calls, self._governor.now(), turns))

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
        """Let those calls wait that the worker wants, and grant those that may be made at once."""
        key, turns, calls = want.key, [], 0
        for conversation in self._new_turns(want, borrower):
            permit = self._governor.permit(key, lambda: None)
            permit.resolved = partial(self._resolved, permit, borrower)
            admission = self._governor.begin(permit, partial(bytes, conversation))
            if admission is Admission.BANNED:
                borrower.send(Banned(key, self._governor.banned_for(key)))
                break
            if admission is Admission.WAITS:
                borrower.waiting.setdefault(key, []).append(permit)
                continue
            turns.append(conversation)
            self._keep_prober(permit, borrower)
        for _ in range(min(want.spare, SPARE)):
            calls += self._governor.has_plenty(key) and self._governor.draw(key)
        if turns or calls:
            self._grant(key, len(turns) + calls, tuple(turns), borrower)

    def _new_turns(self, want: Want, borrower: Borrower) -> list[bytes]:
        """Return the conversations that wait anew, after ending what is not wanted any more."""
        new, kept = list(want.waiting[:MOST_WANTED]), []
        for permit in borrower.waiting.pop(want.key, ()):
            if permit.conversation in new:
                new.remove(permit.conversation)
                kept.append(permit)
            else:
                self._governor.close_permit(permit)
        if kept:
            borrower.waiting[want.key] = kept
        return new

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
        self._grant(key, 1, (permit.conversation,), borrower)

    def _keep_prober(self, permit: EdgePermit, borrower: Borrower) -> None:
        """Keep the permit whose call shows whether a ban is over, until the worker says so."""
        if self._governor.is_probing(permit):
            borrower.probing[permit.account.key] = permit
