"""A company behind one key: users with several conversations each, whose turns interleave.

The feed makes another of six models the best at each refresh, so that a turn which is not held to
its conversation's model finds another one, which has not cached the conversation's prompt.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from stub_backend.prefix_cache import PrefixCache, blocks_of
from stub_backend.prompt import prompt_words
from tests.conduct.asking import ALIAS
from tests.conduct.served import Served

USERS = 50
# Prompts that a model's cache holds: more than its share of the company's conversations, and fewer
# than all of them.
PREFIXES = 50
_SYSTEM = "You help the people of one company."
_REFRESH = 15.0


@dataclass(frozen=True, slots=True)
class Turn:
    """One request: its time in seconds, its user, and its contents."""

    at: float
    user: int
    members: dict[str, Any]
    fields: tuple[bytes, ...]

    @property
    def body(self) -> bytes:
        """The request's body."""
        return json.dumps({"model": ALIAS, **self.members}).encode()


def company(seed: int, users: int = USERS) -> list[Turn]:
    """Return all turns of a company in order of time."""
    chance = random.Random(seed)
    turns = [
        turn
        for user in range(users)
        for number in range(chance.randint(2, 3))
        for turn in _conversation(chance, user, number)
    ]
    return sorted(turns, key=lambda each: each.at)


def _conversation(chance: random.Random, user: int, number: int) -> Iterator[Turn]:
    """Yield the turns of a conversation, each of which repeats those before it.

    The client names it in a header or in the body, or relies on its first messages.
    """
    name = f"{user}-{number}"
    fields, members = chance.choice(
        (
            ((f"X-Session-Id: {name}".encode(),), {}),
            ((), {"prompt_cache_key": name}),
            ((), {}),
            ((), {}),
        )
    )
    said = [{"role": "system", "content": _SYSTEM}]
    at = _REFRESH * (2 + 8 * chance.random())
    for turn in range(chance.randint(4, 6)):
        said.append({"role": "user", "content": _text(chance, f"{name}-{turn}")})
        streams = chance.random() < 0.5
        yield Turn(at, user, {"messages": list(said), "stream": streams, **members}, fields)
        said.append({"role": "assistant", "content": _text(chance, f"answer-{name}-{turn}")})
        at += chance.uniform(10.0, 60.0)


def _text(chance: random.Random, name: str) -> str:
    return " ".join(f"{name}-{word}" for word in range(chance.randint(20, 80)))


def cached_alone(turns: Sequence[Turn]) -> int:
    """Return the cached tokens if each user had one model for all of their own turns."""
    cache = PrefixCache(PREFIXES)
    cached = 0
    for turn in turns:
        # A model's name stands for a user: a cache of the same size for each.
        model, blocks = str(turn.user), blocks_of(prompt_words(turn.members))
        cached += cache.cached_tokens(model, blocks)
        cache.keep(model, blocks)
    return cached


@dataclass(frozen=True, slots=True)
class Played:
    """What the platform counted: cached tokens, and requests by model."""

    cached: int
    requests: dict[str, int]


def play(turns: Sequence[Turn], **settings: Any) -> Played:
    """Send all turns with one key, and return what the platform counted."""
    served = Served(tokens=2, token_delay=0.001, prefixes=PREFIXES, **settings)
    served.stub.feeds.behave(utilization="rotating")
    began = served.network.seconds()
    for turn in turns:
        served.network.pass_time(max(0.0, began + turn.at - served.network.seconds()))
        answer = served.post(turn.body, *turn.fields)
        assert answer.status == 200, answer
    accounts = served.stub.ledger.accounts
    left = served.left_behind()
    assert not left, left
    return Played(
        sum(each.told.cached for each in accounts.values()),
        {model: each.requests for model, each in accounts.items()},
    )
