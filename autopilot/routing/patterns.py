"""Patterns of model names, in which ``*`` alone is special and stands for any text (contract §3).

A client may send a name of 64 KiB, so a match takes time linear in its length: each piece between
two stars is searched for once, from the left, and no regular expression backtracks.
"""

from __future__ import annotations

from collections.abc import Iterable

from msgspec import Struct

_ANY = "*"


class NamePattern(Struct, frozen=True, gc=False):
    """A pattern in lower case: the text before its first star, that behind its last, and between.

    A text without a star is a pattern too, which only that text matches.
    """

    first: str
    between: tuple[str, ...]
    last: str | None

    @classmethod
    def of(cls, text: str) -> NamePattern:
        """Return the pattern that an operator wrote; its case does not matter."""
        first, *others = text.lower().split(_ANY)
        if not others:
            return cls(first, (), None)
        return cls(first, tuple(filter(None, others[:-1])), others[-1])

    def matches(self, lower: str) -> bool:
        """Return whether the whole of a name, which is in lower case, matches."""
        if self.last is None:
            return lower == self.first
        end = len(lower) - len(self.last)
        place = len(self.first)
        # The two ends must not overlap.
        if place > end or not (lower.startswith(self.first) and lower.endswith(self.last)):
            return False
        for piece in self.between:
            found = lower.find(piece, place, end)
            if found < 0:
                return False
            place = found + len(piece)
        return True


def is_pattern(name: str) -> bool:
    """Return whether an item of ``ALIASES`` is a pattern."""
    return _ANY in name


def exact_names(aliases: Iterable[str]) -> tuple[str, ...]:
    """Return the items of ``ALIASES`` that are names, in their order."""
    return tuple(name for name in aliases if not is_pattern(name))


def patterns_of(aliases: Iterable[str]) -> tuple[NamePattern, ...]:
    """Return the patterns among the items of ``ALIASES``, in their order."""
    return tuple(NamePattern.of(name) for name in aliases if is_pattern(name))
