"""The operator's own keys, as the settings have them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from twisted.internet.defer import succeed
from twisted.internet.threads import deferToThread

from autopilot.routing.key_policy import KeyRules
from autopilot.routing.patterns import NamePattern
from autopilot.routing.usage import PICODOLLARS
from autopilot.settings.files.keys import KeyEntry, KeysFile
from autopilot.settings.files.platform_keys import PlatformKeysFile
from autopilot.state.budgets import KeyBudgets
from autopilot.state.key_file import KeyFile
from autopilot.state.key_ledger import KeyLedger
from autopilot.state.own_keys import OwnKey, OwnKeys
from autopilot.state.sharing.key_totals import KeyTotals
from autopilot.upstream.key_pool import KeyPool, PlatformKey
from autopilot.wiring.role import Place

if TYPE_CHECKING:
    from collections.abc import Callable
    from decimal import Decimal

    from twisted.internet.defer import Deferred
    from twisted.internet.interfaces import IReactorTime

    from autopilot.routing.identity import Hasher
    from autopilot.settings import Settings
    from autopilot.state.sharing.store import Store


class Keys:
    """The keys of KEYS_FILE, and what they have used; ``own`` is None without the file.

    ``wall`` returns the seconds since 1970.
    """

    def __init__(
        self,
        place: Place,
        settings: Settings,
        clock: IReactorTime,
        wall: Callable[[], float],
        hasher: Hasher,
        store: Store | None = None,
    ) -> None:
        """Keep what the keys spend, as the settings say, unless a parent does so."""
        self._wall = wall
        self.budgets = KeyBudgets(clock.seconds, wall)
        self.own: OwnKeys | None = None
        self._pool: KeyPool | None = None
        self._seconds = clock.seconds
        self._hasher = hasher
        self._file: KeyFile | None = None
        self._totals: KeyTotals | None = None
        self.ledger = KeyLedger(clock, self.budgets)
        if place is not Place.WORKER and settings.keys_state_file is not None:
            self._file = KeyFile(clock, settings.keys_state_file, self.budgets, deferToThread)
            self.ledger.keep_in(self._file)
        if store is not None:
            self._totals = KeyTotals(clock, store, self.ledger, wall)
            self.ledger.keep_in(self._totals)

    @property
    def pool(self) -> KeyPool | None:
        """The keys of CHUTES_API_KEYS_FILE, or None."""
        return self._pool

    def start(self) -> None:
        """Take over what was spent before."""
        if self._file is not None:
            self._file.load()
        if self._totals is not None:
            self._totals.start()

    def stop(self) -> Deferred[None]:
        """Keep what was spent last; the Deferred fires once that is done."""
        self.ledger.flush()
        if self._totals is not None:
            self._totals.stop()
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
            self.own = OwnKeys(keys, self.budgets, self._wall)
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
            self._pool = KeyPool(keys, self._seconds, self._wall)
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


def _patterns(names: tuple[str, ...] | None) -> tuple[NamePattern, ...] | None:
    return None if names is None else tuple(map(NamePattern.of, names))


def _picodollars(amount: Decimal | None) -> int | None:
    return None if amount is None else int(amount * PICODOLLARS)
