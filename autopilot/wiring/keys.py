"""The operator's own keys, as the settings have them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from autopilot.routing.key_policy import KeyRules
from autopilot.routing.patterns import NamePattern
from autopilot.routing.usage import PICODOLLARS
from autopilot.settings.files.keys import KeyEntry, KeysFile
from autopilot.state.budgets import KeyBudgets
from autopilot.state.own_keys import OwnKey, OwnKeys

if TYPE_CHECKING:
    from collections.abc import Callable
    from decimal import Decimal

    from autopilot.settings import Settings


class Keys:
    """The keys of KEYS_FILE, and what they have used; ``own`` is None without the file.

    ``seconds`` is the monotonic clock, ``wall`` the seconds since 1970.
    """

    def __init__(self, seconds: Callable[[], float], wall: Callable[[], float]) -> None:
        self._wall = wall
        self.budgets = KeyBudgets(seconds, wall)
        self.own: OwnKeys | None = None

    def configure(self, settings: Settings) -> None:
        """Know the keys of these settings from now on."""
        file = settings.keys_file
        if not isinstance(file, KeysFile):
            self.own = None
            return
        keys = [OwnKey(bytes.fromhex(each.sha256), rules_of(each)) for each in file.keys]
        if self.own is None:
            self.own = OwnKeys(keys, self.budgets, self._wall)
        else:
            self.own.configure(keys)


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
