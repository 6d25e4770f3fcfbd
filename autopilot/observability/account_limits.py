"""The limits of accounts as upstreams last stated them: gauges, and a warning near a quota's end.

Keys are known by a prefix of their keyed hash alone, and shown only with ``KEY_METRICS=true``.
Without it the gauges are those of the key whose quota is nearest its end.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from math import inf
from typing import Final

from twisted.logger import Logger

from autopilot.observability.instruments import Readings
from autopilot.routing.account_limits import (
    QUOTA_REMAINING,
    QUOTA_TOTAL,
    QUOTA_USED,
    RATE_LIMITS,
    RATES_REMAINING,
    quota_left,
    read_limit,
)

MAX_KEYS: Final = 100
"""Keys with an entry of their own; all others count as one, named ``other``."""

MAX_AGE: Final = 3600.0
"""Seconds for which a statement counts. A key that is no longer used must not raise alarms."""

NEARLY_USED: Final = 0.1
"""The share of a quota that remains when the log warns of its end."""

_WARNING_PAUSE = 3600.0
_PREFIX = 4
_OTHER = "other"

Fields = Mapping[bytes, bytes]


class _Account:
    """What was stated last for one key, when, and when the log warned of its quota's end."""

    __slots__ = ("fields", "key", "stated_at", "warned_at")

    def __init__(self) -> None:
        self.key = b""
        self.fields: Fields = {}
        self.stated_at = self.warned_at = -inf

    @property
    def left(self) -> float:
        """The share of the quota that remains; infinite without a quota."""
        share = quota_left(self.fields)
        return inf if share is None else share


class AccountLimits:
    """Keeps the last statement for each key, up to `MAX_KEYS`.

    ``by_key``: metrics and log tell the keys apart. ``seconds`` returns the clock's time.
    """

    _log = Logger()

    def __init__(self, seconds: Callable[[], float], *, by_key: bool = False) -> None:
        self._seconds = seconds
        self.by_key = by_key
        # By the prefix of the client's hash, the one stated least recently first.
        self._accounts: OrderedDict[bytes, _Account] = OrderedDict()
        self._other = _Account()

    def note(self, client: bytes, fields: Fields, now: float) -> None:
        """Keep what an upstream states for the client with this hash.

        ``fields`` are those of `LIMIT_FIELDS` by name.
        """
        key = client[:_PREFIX]
        account = self._accounts.get(key)
        if account is None:
            account = self._enter(key, now)
        else:
            self._accounts.move_to_end(key)
        left = quota_left(fields)
        if left is not None and left < NEARLY_USED and now - account.warned_at >= _WARNING_PAUSE:
            account.warned_at = now
            self._warn(key.hex() if account is not self._other else _OTHER, fields)
        # Of the keys that count as one, the one nearest its end is kept.
        known = account is self._other and now - account.stated_at < MAX_AGE
        if known and account.key != key and (inf if left is None else left) >= account.left:
            return
        account.key, account.fields, account.stated_at = key, fields, now

    def _enter(self, key: bytes, now: float) -> _Account:
        """Return the account of a key that is not in the table, in place of one that is too old."""
        accounts = self._accounts
        while accounts and now - next(iter(accounts.values())).stated_at >= MAX_AGE:
            accounts.popitem(last=False)
        if len(accounts) >= MAX_KEYS:
            return self._other
        account = accounts[key] = _Account()
        return account

    def _warn(self, name: str, fields: Fields) -> None:
        self._log.warn(
            "The quota of {whose} is nearly used up: {remaining} of {total} requests are left."
            " The platform charges or rejects requests beyond it.",
            whose=f"the key {name}" if self.by_key else "a key",
            remaining=read_limit(fields[QUOTA_REMAINING]),
            total=read_limit(fields[QUOTA_TOTAL]),
        )

    # -- gauges

    def instruments(self) -> tuple[Readings, ...]:
        """Return the gauges, which are read at each scrape."""
        return (
            Readings(
                "chutes_autopilot_quota_limit",
                "Requests in the quota of a key, as the upstream stated last.",
                ("key",),
                lambda: self._quota(QUOTA_TOTAL),
            ),
            Readings(
                "chutes_autopilot_quota_used",
                "Requests of the quota of a key that are used, as the upstream stated last.",
                ("key",),
                lambda: self._quota(QUOTA_USED),
            ),
            Readings(
                "chutes_autopilot_quota_remaining",
                "Requests of the quota of a key that remain, as the upstream stated last.",
                ("key",),
                lambda: self._quota(QUOTA_REMAINING),
            ),
            Readings(
                "chutes_autopilot_rate_limit",
                "Limit of a rate of a key, by what it limits, as the upstream stated last.",
                ("key", "scope"),
                lambda: self._rates(RATE_LIMITS),
            ),
            Readings(
                "chutes_autopilot_rate_limit_remaining",
                "Rest of a rate of a key, by what it limits, as the upstream stated last.",
                ("key", "scope"),
                lambda: self._rates(RATES_REMAINING),
            ),
        )

    def _stated(self) -> list[tuple[str, _Account]]:
        """Return the accounts that count, with the names that the metrics have for them."""
        due = self._seconds() - MAX_AGE
        named = [(key.hex(), each) for key, each in self._accounts.items()]
        named.append((_OTHER, self._other))
        return [(name, each) for name, each in named if each.stated_at > due]

    def _quota(self, field: bytes) -> Iterator[tuple[tuple[str, ...], float]]:
        stated = self._stated()
        if not self.by_key and stated:
            stated = [("", min((each for _, each in stated), key=lambda each: each.left))]
        for name, each in stated:
            value = read_limit(each.fields.get(field))
            if value is not None:
                yield (name,), value

    def _rates(self, scopes: Mapping[bytes, str]) -> Iterator[tuple[tuple[str, ...], float]]:
        least: dict[tuple[str, ...], float] = {}
        for name, each in self._stated():
            for field, scope in scopes.items():
                value = read_limit(each.fields.get(field))
                if value is not None:
                    labels = (name if self.by_key else "", scope)
                    least[labels] = min(value, least.get(labels, inf))
        yield from least.items()
