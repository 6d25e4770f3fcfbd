"""The demo's company: users with one key, whose conversations keep their model's prefix cache.

Every turn is sent twice, once with affinity and once without. Between two rounds of turns the feed
makes another model the best.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException
from typing import Any

from stub_backend.demo.processes import HOST, DemoError, get_json
from stub_backend.prefix_cache import BLOCK_TOKENS, PrefixCache, blocks_of
from stub_backend.prompt import prompt_words

USERS = 8
TURNS = 3
# Every other user begins a round later, so that not all start with the same model.
_ROUNDS = TURNS + 1
_WORDS = 4 * BLOCK_TOKENS
_PATIENCE = 30.0
_POLL = 0.02
_OFF = {"X-Autopilot-Affinity": "off"}


@dataclass(frozen=True, slots=True)
class Kept:
    """Tokens of repeated prompts: those that could be cached, and those that were.

    `models` is the number of models that the conversations with affinity use.
    """

    possible: int
    with_affinity: int
    without: int
    models: int

    def share(self, cached: int) -> str:
        """Return a number of cached tokens in percent of the possible ones."""
        return f"{100 * cached // self.possible} %"


def play(port: int, stub_port: int, model: str) -> Kept:
    """Send all turns to the router's port, and return what was cached. Raises DemoError."""
    post(stub_port, "/stub/feeds", {"utilization": "rotating"})
    with_affinity, without = 0, 0
    used = set()
    with ThreadPoolExecutor(2 * USERS) as threads:
        for turn in range(_ROUNDS):
            _await_another_best(port)
            sent = [
                threads.submit(_ask, port, model, _messages(user, turn, name), headers)
                for user in range(USERS)
                if 0 <= turn - user % 2 < TURNS
                for name, headers in (("a", {}), ("b", _OFF))
            ]
            answers = [each.result() for each in sent]
            used |= {each["model"] for each in answers[::2]}
            with_affinity += sum(map(_cached, answers[::2]))
            without += sum(map(_cached, answers[1::2]))
    post(stub_port, "/stub/feeds", {"utilization": "ok"})
    return Kept(possible_tokens(), with_affinity, without, len(used))


def _messages(user: int, turn: int, name: str) -> list[dict[str, str]]:
    """Return a conversation up to the turn of a round; its first message identifies it."""
    said = range(turn - user % 2 + 1)
    texts = (" ".join(f"{name}{user}-{each}-{word}" for word in range(_WORDS)) for each in said)
    return [{"role": "user", "content": text} for text in texts]


def possible_tokens() -> int:
    """Return the tokens that are cached if every conversation stays with one model."""
    cache, possible = PrefixCache(USERS), 0
    for user in range(USERS):
        for turn in range(TURNS):
            messages = _messages(user, turn + user % 2, "a")
            blocks = blocks_of(prompt_words({"messages": messages}))
            possible += cache.cached_tokens("", blocks)
            cache.keep("", blocks)
    return possible


def _await_another_best(port: int) -> None:
    """Wait until the router has fetched the load of the models again. Raises DemoError."""
    ages = _ages(port)
    before = next(ages)
    for age in ages:
        if age < before:
            return
        before = age


def _ages(port: int) -> Iterator[int]:
    """Yield the age of the router's data at short intervals."""
    end = time.monotonic() + _PATIENCE
    while time.monotonic() < end:
        yield get_json(port, "/readyz")["feeds"]["utilization"]["age_ms"]
        time.sleep(_POLL)
    raise DemoError("the router did not fetch the load of the models again")


def _ask(port: int, model: str, messages: object, headers: Mapping[str, str]) -> dict[str, Any]:
    """Return the response to one turn, of which the first word is enough."""
    body = {"model": model, "max_tokens": 1, "messages": messages}
    answer = post(port, "/v1/chat/completions", body, {"Authorization": "Bearer demo", **headers})
    if "usage" not in answer:
        raise DemoError(f"{model}: no usage: {json.dumps(answer)[:300]}")
    return answer


def _cached(answer: Mapping[str, Any]) -> int:
    return int(answer["usage"]["prompt_tokens_details"]["cached_tokens"])


def post(
    port: int, path: str, value: object, headers: Mapping[str, str] | None = None
) -> dict[str, Any]:
    """Send JSON and return the JSON of the response. Raises DemoError."""
    connection = HTTPConnection(HOST, port, timeout=_PATIENCE)
    try:
        fields = {"Content-Type": "application/json", **(headers or {})}
        connection.request("POST", path, json.dumps(value).encode(), fields)
        answer = json.loads(connection.getresponse().read())
    except (OSError, HTTPException, ValueError) as error:
        raise DemoError(f"{path}: no response: {error!r}") from None
    finally:
        connection.close()
    if not isinstance(answer, dict):
        raise DemoError(f"{path}: not the response of this demo")
    return answer
