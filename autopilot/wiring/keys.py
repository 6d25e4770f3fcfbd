"""The operator's own keys, as the settings have them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from twisted.internet.defer import succeed
from twisted.internet.threads import deferToThread

from autopilot.observability.key_counts import KeyCounts
from autopilot.routing.key_policy import KeyRules
from autopilot.routing.patterns import NamePattern
from autopilot.routing.usage import PICODOLLARS
from autopilot.settings.files.keys import KeyEntry, KeysFile
from autopilot.settings.files.platform_keys import PlatformKeysFile
from autopilot.state.budgets import KeyBudgets, KeyNow
from autopilot.state.key_file import KeyFile
from autopilot.state.key_ledger import KeyLedger
from autopilot.state.own_keys import OwnKey, OwnKeys
from autopilot.state.sharing.key_totals import KeyTotals
from autopilot.state.sharing.keys_in_progress import KeysInProgress
from autopilot.upstream.key_pool import KeyPool, PlatformKey
from autopilot.upstream.key_rests import KeyRests
from autopilot.web.status.keys import KeysNow, LentKeyNow, OwnKeyNow, Use
from autopilot.wiring.role import Place

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from decimal import Decimal

    from twisted.internet.defer import Deferred
    from twisted.internet.interfaces import IReactorTime

    from autopilot.observability.key_counts import PoolKeyNow
    from autopilot.routing.identity import Hasher
    from autopilot.settings import Settings
    from autopilot.state.sharing.store import Store


class Keys:
    """The keys of KEYS_FILE, and what they have used; ``own`` is None without the file.

    ``wall`` returns the seconds since 1970. ``banned_for`` is asked how long the governor sends
    nothing with a key of the pool.
    """

    def __init__(
        self,
        place: Place,
        settings: Settings,
        clock: IReactorTime,
        wall: Callable[[], float],
        hasher: Hasher,
        store: Store | None = None,
        banned_for: Callable[[bytes], float] = lambda key: 0.0,
    ) -> None:
        """Keep what the keys spend, as the settings say, unless a parent does so."""
        self._wall = wall
        # A parent sends no requests itself, and each of its workers has a pool of its own.
        self._lends = place is not Place.PARENT
        self.budgets = KeyBudgets(clock.seconds, wall)
        self.counts = KeyCounts()
        self.own: OwnKeys | None = None
        self._pool: KeyPool | None = None
        self.rests = KeyRests(lambda: self._pool)
        self._seconds = clock.seconds
        self._hasher = hasher
        self._banned_for = banned_for
        self._file: KeyFile | None = None
        self._totals: KeyTotals | None = None
        self._in_progress: KeysInProgress | None = None
        self.ledger = KeyLedger(clock, self.budgets)
        if place is not Place.WORKER and settings.keys_state_file is not None:
            self._file = KeyFile(clock, settings.keys_state_file, self.budgets, deferToThread)
            self.ledger.keep_in(self._file)
        if store is not None:
            self._totals = KeyTotals(clock, store, self.ledger, wall)
            self.ledger.keep_in(self._totals)
            self._in_progress = KeysInProgress(clock, store, self.ledger, self.budgets.in_progress)

    @property
    def pool(self) -> KeyPool | None:
        """The keys of CHUTES_API_KEYS_FILE, or None."""
        return self._pool

    def resting(self) -> list[str]:
        """Return the names of the pool's keys that rest."""
        return [] if self._pool is None else self._pool.resting()

    def now(self) -> KeysNow | None:
        """Return what the status page shows; None without keys."""
        if self.own is None and self._pool is None:
            return None
        rules = () if self.own is None else self.own.rules
        used = self.budgets.now([each.name for each in rules])
        return KeysNow(
            tuple(_shown(*each) for each in zip(rules, used, strict=True)), lent(self.lent())
        )

    def lent(self) -> tuple[PoolKeyNow, ...]:
        """Return what this process knows of the keys that it lends."""
        return () if self._pool is None or not self._lends else tuple(self._pool.now())

    def start(self) -> None:
        """Take over what was spent before."""
        if self._file is not None:
            self._file.load()
        if self._totals is not None:
            self._totals.start()
        if self._in_progress is not None:
            self._in_progress.start()

    def stop(self) -> Deferred[None]:
        """Keep what was spent last; the Deferred fires once that is done."""
        self.ledger.flush()
        if self._totals is not None:
            self._totals.stop()
        if self._in_progress is not None:
            self._in_progress.stop()
        return succeed(None) if self._file is None else self._file.stop()

    def configure(self, settings: Settings) -> None:
        """Know the keys of these settings from now on, and lend those of the pool."""
        self._configure_pool(settings.chutes_api_keys_file)
        file = settings.keys_file
        if not isinstance(file, KeysFile):
            self.own = None
            return
        keys = [OwnKey(bytes.fromhex(each.sha256), rules_of(each)) for each in file.keys]
        if self.own is None:
            self.own = OwnKeys(keys, self.budgets, self._wall, self.counts.refused)
        else:
            self.own.configure(keys)

    def _configure_pool(self, file: object) -> None:
        if not isinstance(file, PlatformKeysFile):
            self._pool = None
            return
        keys = [
            PlatformKey(each.name, each.key.encode("ascii"), self._hasher.token(each.key))
            for each in file.keys
        ]
        if self._pool is None:
            self._pool = KeyPool(
                keys,
                self._seconds,
                self._wall,
                self.counts,
                banned_for=self._banned_for,
                told=self.rests.told,
            )
        else:
            self._pool.configure(keys)


def rules_of(entry: KeyEntry) -> KeyRules:
    """Return the rules that an entry of the file describes."""
    return KeyRules(
        entry.name,
        _patterns(entry.models),
        _patterns(entry.routes),
        entry.requests_per_minute,
        entry.concurrent_requests,
        entry.tokens_per_day,
        entry.tokens_per_month,
        _picodollars(entry.dollars_per_day),
        _picodollars(entry.dollars_per_month),
        entry.expires,
    )


def lent(keys: Iterable[PoolKeyNow]) -> tuple[LentKeyNow, ...]:
    """Return what the status page shows of the keys of the pool."""
    return tuple(
        LentKeyNow(
            each.name, each.requests, each.in_progress, each.quota_left, each.resting, each.why
        )
        for each in keys
    )


def _shown(rules: KeyRules, used: KeyNow) -> OwnKeyNow:
    return OwnKeyNow(
        rules.name,
        Use(used.requests_last_minute, rules.requests_per_minute),
        Use(used.in_progress, rules.concurrent_requests),
        Use(used.tokens_today, rules.tokens_per_day),
        Use(used.tokens_this_month, rules.tokens_per_month),
        Use(used.dollars_today, _dollars(rules.picodollars_per_day)),
        Use(used.dollars_this_month, _dollars(rules.picodollars_per_month)),
    )


def _dollars(picodollars: int | None) -> float | None:
    return None if picodollars is None else picodollars / PICODOLLARS


def _patterns(names: tuple[str, ...] | None) -> tuple[NamePattern, ...] | None:
    return None if names is None else tuple(map(NamePattern.of, names))


def _picodollars(amount: Decimal | None) -> int | None:
    return None if amount is None else int(amount * PICODOLLARS)
