"""The models' prefix caches: what a prompt shares with an earlier one need not be computed again.

As in real engines a cache holds whole blocks of tokens, and finds the longest common prefix. Each
model has its own, so that a conversation which moves to another model starts cold there.
"""

from __future__ import annotations

import hashlib
from collections import Counter, OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field

BLOCK_TOKENS = 16

# The digests of a prompt's blocks; each covers all blocks up to its own.
Blocks = tuple[bytes, ...]


def blocks_of(words: Sequence[str]) -> Blocks:
    """Return the digests of the whole blocks of these tokens."""
    digest, blocks = b"", []
    for end in range(BLOCK_TOKENS, len(words) + 1, BLOCK_TOKENS):
        text = " ".join(words[end - BLOCK_TOKENS : end])
        digest = hashlib.sha256(digest + text.encode("utf-8", "surrogatepass")).digest()
        blocks.append(digest)
    return tuple(blocks)


@dataclass(slots=True)
class _Cache:
    """One model's prompts, the least recently used first, and how many of them have a block."""

    prompts: OrderedDict[bytes, Blocks] = field(default_factory=OrderedDict)
    holders: Counter[bytes] = field(default_factory=Counter)

    def add(self, blocks: Blocks) -> None:
        """Add a prompt in place of those that it contains."""
        for each in blocks:
            if each in self.prompts:
                self.drop(self.prompts.pop(each))
        self.prompts[blocks[-1]] = blocks
        self.holders.update(blocks)

    def drop(self, blocks: Blocks) -> None:
        """Release the blocks of a removed prompt."""
        for each in blocks:
            self.holders[each] -= 1
            if not self.holders[each]:
                del self.holders[each]


class PrefixCache:
    """The caches of all models, each with at most `prefixes` prompts; 0 disables them."""

    def __init__(self, prefixes: int) -> None:
        self._prefixes = prefixes
        self._models: dict[str, _Cache] = {}

    @property
    def enabled(self) -> bool:
        """Whether anything is cached."""
        return self._prefixes > 0

    def cached_tokens(self, model: str, blocks: Blocks) -> int:
        """Return how many tokens of a prompt a model has cached."""
        cache = self._models.get(model)
        if cache is None:
            return 0
        missing = (number for number, each in enumerate(blocks) if each not in cache.holders)
        return next(missing, len(blocks)) * BLOCK_TOKENS

    def keep(self, model: str, blocks: Blocks) -> None:
        """Keep a prompt that a model has processed, as the most recently used one."""
        if not blocks or not self.enabled:
            return
        cache = self._models.setdefault(model, _Cache())
        cache.add(blocks)
        while len(cache.prompts) > self._prefixes:
            cache.drop(cache.prompts.popitem(last=False)[1])

    def clear(self) -> None:
        """Empty all caches."""
        self._models.clear()
