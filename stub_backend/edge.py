"""The platform's edge, which counts calls per key and bans a key that sends too many.

It counts as `limit_req` of nginx does: a bucket that leaks at the rate, and holds as many calls as
a minute's. A call beyond that begins a ban; every further one while it lasts doubles it, up to a
day. A key is the last word of `Authorization` or `X-API-Key`, the hotkey of a signed call, or
nothing: then all callers without a key are one.
"""

from __future__ import annotations

from dataclasses import dataclass

from stub_backend.answers.pages import nginx_page
from stub_backend.log import Received
from stub_backend.problem import Problem

FIRST_BAN = 60.0
LONGEST_BAN = 86_400.0

_PAGE = nginx_page("429 Too Many Requests").decode()


@dataclass(slots=True)
class _Caller:
    """What the edge has counted of one key; durations are in seconds."""

    level: float = 0.0
    at: float = 0.0
    calls: int = 0
    refused: int = 0
    bans: int = 0
    ban: float = 0.0
    until: float = 0.0


class Edge:
    """Admits calls, `rate` a minute for each key; 0 admits all."""

    def __init__(self, rate: int) -> None:
        self._usual = rate
        self.rate = rate
        self._callers: dict[str, _Caller] = {}

    def admit(self, record: Received) -> Problem | None:
        """Count a call; return the page if its key is banned, or is so from now on."""
        caller = self._callers.setdefault(_key(record), _Caller())
        now = record.at
        caller.calls += 1
        if not self.rate:
            return None
        leaked = (now - caller.at) * self.rate / 60
        caller.level, caller.at = max(0.0, caller.level - leaked) + 1, now
        if now >= caller.until and caller.level <= self.rate + 1:
            return None
        if now >= caller.until:
            caller.bans += 1
        caller.refused += 1
        caller.ban = min(LONGEST_BAN, 2 * caller.ban) if caller.ban else FIRST_BAN
        caller.until = now + caller.ban
        return Problem(429, None, _PAGE)

    def behave(self, rate: int) -> None:
        """Count from now on at another rate."""
        if rate < 0:
            raise ValueError("the rate must not be negative")
        self.rate = rate

    def reset(self) -> None:
        """Forget all callers, and count at the rate of the options."""
        self._callers.clear()
        self.rate = self._usual

    def as_json(self) -> list[dict[str, object]]:
        """Return what was counted of each key, in the order of their first calls."""
        return [
            {
                "key": key,
                "calls": each.calls,
                "refused": each.refused,
                "bans": each.bans,
                "ban_seconds": each.ban,
            }
            for key, each in self._callers.items()
        ]


def _key(record: Received) -> str:
    hotkey = record.header("x-chutes-hotkey")
    given = (record.header("authorization") or record.header("x-api-key") or "").split()
    return given[-1] if given else hotkey or ""
