"""The ledger: what the stub has told its clients about tokens and cost, by model.

It reads the bytes that were sent. So a stream that broke counts with what it told before, and an
answer that told nothing with nothing, as a router in front of the stub should count them.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from stub_backend.steps import End

# The bytes that are kept of the beginning and of the end of an answer.
_KEPT = 65_536
_MARK = b'"usage"'
_MILLION = 1_000_000


@dataclass(frozen=True, slots=True)
class Told:
    """The token counts of one answer: the last ones that it contained.

    As with OpenAI, `prompt` includes `cached`, and `completion` includes `reasoning`.
    """

    prompt: int = 0
    cached: int = 0
    completion: int = 0
    reasoning: int = 0

    def __add__(self, other: Told) -> Told:
        return Told(
            self.prompt + other.prompt,
            self.cached + other.cached,
            self.completion + other.completion,
            self.reasoning + other.reasoning,
        )

    def __sub__(self, other: Told) -> Told:
        return Told(
            self.prompt - other.prompt,
            self.cached - other.cached,
            self.completion - other.completion,
            self.reasoning - other.reasoning,
        )


@dataclass(frozen=True, slots=True)
class Price:
    """Dollars for a million tokens of each kind."""

    prompt: Decimal
    cached: Decimal
    completion: Decimal

    def cost(self, told: Told) -> Decimal:
        """Return the dollars for these tokens."""
        uncached = (told.prompt - told.cached) * self.prompt
        return (uncached + told.cached * self.cached + told.completion * self.completion) / _MILLION


@dataclass(slots=True)
class Account:
    """The calls of one model. `broken`: the stub cut the answer; `cancelled`: the client left."""

    requests: int = 0
    broken: int = 0
    cancelled: int = 0
    told: Told = Told()

    def as_json(self, price: Price | None) -> dict[str, Any]:
        """Return the account for `GET /stub/ledger`; the cost is a decimal, or null."""
        return {
            "requests": self.requests,
            "broken": self.broken,
            "cancelled": self.cancelled,
            "prompt_tokens": self.told.prompt,
            "cached_tokens": self.told.cached,
            "completion_tokens": self.told.completion,
            "reasoning_tokens": self.told.reasoning,
            "cost_dollars": None if price is None else f"{price.cost(self.told):f}",
        }


class Entry:
    """One call in progress."""

    def __init__(self, account: Account) -> None:
        self._account = account
        self._account.requests += 1
        self._first = b""
        self._last = bytearray()

    def sent(self, data: bytes) -> None:
        """Keep sent bytes; a message's first usage has what its last one omits."""
        self._last += data
        if len(self._last) > 2 * _KEPT:
            self._first = self._first or bytes(self._last[:_KEPT])
            del self._last[:-_KEPT]

    def close(self, end: End) -> None:
        """Count the call, whose answer has ended."""
        self._account.broken += end is End.BROKEN
        self._account.cancelled += end is End.CANCELLED
        self._account.told += told(self._first, bytes(self._last))


class Ledger:
    """The accounts by model, and the models' prices."""

    def __init__(self, prices: Mapping[str, Price]) -> None:
        self._prices = prices
        self.accounts: dict[str, Account] = {}

    def open(self, model: str) -> Entry:
        """Return the entry of a call that has just arrived."""
        return Entry(self.accounts.setdefault(model, Account()))

    def cost(self, model: str) -> Decimal:
        """Return the dollars for a model's tokens; 0 if its prices are unknown."""
        account, price = self.accounts.get(model), self._prices.get(model)
        return Decimal(0) if account is None or price is None else price.cost(account.told)

    def as_json(self) -> dict[str, Any]:
        """Return all accounts for `GET /stub/ledger`."""
        return {
            model: account.as_json(self._prices.get(model))
            for model, account in sorted(self.accounts.items())
        }

    def clear(self) -> None:
        """Close all accounts; a call in progress counts in none."""
        self.accounts.clear()


def told(*parts: bytes) -> Told:
    """Return the counts in parts of an answer: JSON, or whole events of any API."""
    usage: dict[str, Any] = {}
    for data in parts:
        for each in _usages(data):
            usage |= each
    prompt = _first(usage, "prompt_tokens", "input_tokens")
    cached = _first(usage, "cache_read_input_tokens")
    details = usage.get("prompt_tokens_details") or usage.get("input_tokens_details") or {}
    generated = usage.get("output_tokens_details") or {}
    return Told(
        # Anthropic counts cached tokens beside the others, OpenAI among them.
        prompt + cached,
        cached or details.get("cached_tokens", 0),
        _first(usage, "completion_tokens", "output_tokens"),
        _first(usage, "reasoning_tokens") or generated.get("reasoning_tokens", 0),
    )


def _usages(data: bytes) -> Iterator[dict[str, Any]]:
    """Yield the usage of each line that is JSON, wherever the API has it."""
    for line in data.splitlines():
        if _MARK not in line:
            continue
        try:
            value = json.loads(line.removeprefix(b"data: "))
        except ValueError:
            continue
        if isinstance(value, dict):
            for holder in (value, value.get("message"), value.get("response")):
                if isinstance(holder, dict) and isinstance(holder.get("usage"), dict):
                    yield holder["usage"]


def _first(usage: Mapping[str, Any], *names: str) -> int:
    return next((int(usage[each]) for each in names if usage.get(each) is not None), 0)
