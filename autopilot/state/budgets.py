"""What the operator's own keys have used: requests of the last minute, those in progress, budgets.

A minute is any sixty seconds of the monotonic clock; budgets go by UTC days and months of the wall
clock. Requests in progress are not known to cost anything yet, so that a budget may be exceeded by
what is in progress when it is spent.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection, Iterable, Mapping
from math import ceil
from typing import TYPE_CHECKING, Final

from msgspec import Struct, structs

from autopilot.routing.key_policy import (
    WINDOW,
    KeyRules,
    Spent,
    at,
    budgets,
    day_of,
    exhausted,
    too_many_at_a_time,
    too_many_requests,
    with_usage,
)

if TYPE_CHECKING:
    from autopilot.http.headers import Field
    from autopilot.routing.router_error import RouterError

_DAYS: Final = 86_400
_HOUR: Final = 3600
_MINUTE: Final = 60


class Used(Struct, frozen=True, gc=False, array_like=True):
    """The use of a key since the last report of it, for other processes of the router."""

    name: str
    requests: int = 0
    in_progress: int = 0
    """How many more are in progress than were; less than 0 if some have ended."""
    tokens: int = 0
    picodollars: int = 0


class KeyNow(Struct, frozen=True):
    """The use of a key, for the status page."""

    name: str
    in_progress: int
    requests_last_minute: int
    tokens_today: int
    tokens_this_month: int
    dollars_today: float
    dollars_this_month: float


class _Account:
    """One key's use: the times of its requests in the last minute, and what was spent."""

    __slots__ = ("elsewhere", "here", "sent", "spent")

    def __init__(self, spent: Spent) -> None:
        self.sent: deque[float] = deque()
        self.here = self.elsewhere = 0
        self.spent = spent

    def window(self, now: float) -> deque[float]:
        """Return the times of the requests of the last minute."""
        sent = self.sent
        while sent and now - sent[0] >= WINDOW:
            sent.popleft()
        return sent


class KeyBudgets:
    """The accounts of the keys, by name. A key that leaves the file keeps what it has spent.

    ``seconds`` is the monotonic clock, ``wall`` the seconds since 1970.
    """

    def __init__(self, seconds: Callable[[], float], wall: Callable[[], float]) -> None:
        self._seconds = seconds
        self._wall = wall
        self._accounts: dict[str, _Account] = {}
        self._news: dict[str, Used] = {}
        self.told: Callable[[], None] | None = None
        """Called when there is news for other processes, or for a file."""

    # -- a request

    def refusal(self, rules: KeyRules) -> RouterError | None:
        """Return the error for a request of this key at present."""
        account, now = self._account(rules.name), self._seconds()
        limit = rules.requests_per_minute
        if limit is not None and len(sent := account.window(now)) >= limit:
            return too_many_requests(rules, sent[-limit] + WINDOW - now)
        most = rules.concurrent_requests
        if most is not None and account.here + account.elsewhere >= most:
            return too_many_at_a_time(rules)
        return exhausted(rules, self._spent(account)) if rules.has_budget else None

    def begin(self, rules: KeyRules) -> None:
        """Count a request that begins."""
        account = self._account(rules.name)
        account.here += 1
        if rules.requests_per_minute is not None:
            account.window(now := self._seconds()).append(now)
        self._tell(Used(rules.name, requests=1, in_progress=1))

    def spend(self, name: str, tokens: int, picodollars: int) -> None:
        """Count the usage of a request that has ended."""
        account = self._account(name)
        account.spent = with_usage(account.spent, tokens, picodollars, self._wall())
        self._tell(Used(name, tokens=tokens, picodollars=picodollars))

    def end(self, name: str) -> None:
        """Count a request as ended."""
        self._account(name).here -= 1
        self._tell(Used(name, in_progress=-1))

    def fields(self, rules: KeyRules) -> list[Field]:
        """Return what the key has left, in the header fields that OpenAI has for it.

        The tokens are those of the budget of which the least is left.
        """
        account, now = self._account(rules.name), self._seconds()
        fields: list[Field] = []
        limit = rules.requests_per_minute
        if limit is not None:
            sent = account.window(now)
            resets = sent[-1] + WINDOW - now if sent else 0.0
            fields += _fields(b"requests", limit, max(0, limit - len(sent)), resets)
        tokens = [each for each in budgets(rules, self._spent(account)) if each.kind == "tokens"]
        if tokens:
            least = min(tokens, key=lambda each: each.left)
            fields += _fields(b"tokens", least.limit, least.left, least.resets - self._wall())
        return fields

    # -- other processes, and files

    def news(self) -> list[Used]:
        """Return what has been used since the last call, by key."""
        news, self._news = self._news, {}
        return list(news.values())

    def hear(self, news: Iterable[Used]) -> None:
        """Count what another process has used."""
        now, wall = self._seconds(), self._wall()
        for each in news:
            account = self._account(each.name)
            account.elsewhere += each.in_progress
            if each.requests > 0:
                account.window(now).extend([now] * each.requests)
            if each.tokens or each.picodollars:
                account.spent = with_usage(account.spent, each.tokens, each.picodollars, wall)

    def spent(self) -> dict[str, Spent]:
        """Return what each key has spent, without those that have spent nothing this month."""
        found = {name: self._spent(each) for name, each in self._accounts.items()}
        return {
            name: each
            for name, each in found.items()
            if each.tokens_this_month or each.picodollars_this_month
        }

    def restore(self, spent: Mapping[str, Spent]) -> None:
        """Take over what had been spent before; what has been since then is added to it."""
        for name, before in spent.items():
            account = self._account(name)
            mine = self._spent(account)
            wall = self._wall()
            known = at(before, wall)
            account.spent = structs.replace(
                known,
                tokens_today=known.tokens_today + mine.tokens_today,
                picodollars_today=known.picodollars_today + mine.picodollars_today,
                tokens_this_month=known.tokens_this_month + mine.tokens_this_month,
                picodollars_this_month=known.picodollars_this_month + mine.picodollars_this_month,
            )

    def raise_to(self, spent: Mapping[str, Spent]) -> None:
        """Count at least these sums, by one who counts for several routers."""
        for name, known in spent.items():
            account = self._account(name)
            mine, theirs = self._spent(account), at(known, self._wall())
            account.spent = structs.replace(
                mine,
                tokens_today=max(mine.tokens_today, theirs.tokens_today),
                picodollars_today=max(mine.picodollars_today, theirs.picodollars_today),
                tokens_this_month=max(mine.tokens_this_month, theirs.tokens_this_month),
                picodollars_this_month=max(
                    mine.picodollars_this_month, theirs.picodollars_this_month
                ),
            )

    def at_present(self) -> list[Used]:
        """Return the requests of the last minute, and those in progress, for a new process.

        Those of the last minute count as of now there, so that a restart gives no requests back.
        """
        now = self._seconds()
        found = [
            Used(name, len(each.window(now)), each.here + each.elsewhere)
            for name, each in self._accounts.items()
        ]
        return [each for each in found if each.requests or each.in_progress]

    def in_progress(self) -> dict[str, int]:
        """Return the numbers of requests in progress that are counted, by key."""
        found = {name: each.here + each.elsewhere for name, each in self._accounts.items()}
        return {name: number for name, number in found.items() if number}

    def now(self, names: Collection[str]) -> list[KeyNow]:
        """Return what these keys have used, for the status page."""
        at_present = self._seconds()
        found = []
        for name in names:
            account = self._account(name)
            spent = self._spent(account)
            found.append(
                KeyNow(
                    name,
                    account.here + account.elsewhere,
                    len(account.window(at_present)),
                    spent.tokens_today,
                    spent.tokens_this_month,
                    spent.picodollars_today / 1e12,
                    spent.picodollars_this_month / 1e12,
                )
            )
        return found

    def _account(self, name: str) -> _Account:
        account = self._accounts.get(name)
        if account is None:
            account = self._accounts[name] = _Account(Spent(day_of(self._wall())))
        return account

    def _spent(self, account: _Account) -> Spent:
        """Return what counts of an account now."""
        account.spent = spent = at(account.spent, self._wall())
        return spent

    def _tell(self, used: Used) -> None:
        told = self.told
        if told is None:
            return
        before = self._news.get(used.name)
        if before is None:
            self._news[used.name] = used
        else:
            self._news[used.name] = Used(
                used.name,
                before.requests + used.requests,
                before.in_progress + used.in_progress,
                before.tokens + used.tokens,
                before.picodollars + used.picodollars,
            )
        told()


def _fields(kind: bytes, limit: int, left: int, resets: float) -> list[Field]:
    return [
        (b"x-ratelimit-limit-" + kind, b"%d" % limit),
        (b"x-ratelimit-remaining-" + kind, b"%d" % left),
        (b"x-ratelimit-reset-" + kind, _duration(resets)),
    ]


def _duration(seconds: float) -> bytes:
    """Return a time as OpenAI writes it, such as ``6m0s``, rounded up to whole seconds."""
    whole = max(0, ceil(seconds))
    days, rest = divmod(whole, _DAYS)
    hours, rest = divmod(rest, _HOUR)
    minutes, rest = divmod(rest, _MINUTE)
    text, parts = "", ((days, "d"), (hours, "h"), (minutes, "m"))
    for number, unit in parts:
        if number or text:
            text += f"{number}{unit}"
    return f"{text}{rest}s".encode("ascii")
