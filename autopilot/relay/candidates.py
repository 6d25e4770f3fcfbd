"""The candidates of one exchange, as they are used up. Which one comes next is `routing`'s rule."""

from __future__ import annotations

from collections.abc import Iterable

from autopilot.routing.candidate import Candidate
from autopilot.routing.plan import pick


class Candidates:
    """Hands out the candidates of a plan, at most ``max_attempts`` attempts in all."""

    def __init__(self, candidates: Iterable[Candidate], max_attempts: int) -> None:
        self._left = tuple(candidates)
        self._attempts_left = max_attempts
        self._paused_on: set[str] = set()
        self._narrowed = False

    @property
    def exhausted(self) -> bool:
        """Whether there is no candidate to turn to after the one at hand."""
        return not self._left or self._attempts_left <= 0

    def turn(self, cooling: frozenset[str]) -> Candidate:
        """The next candidate, for one attempt; there must be one."""
        left = self._left
        candidate = pick(left, cooling)
        place = left.index(candidate)
        self._left = left[:place] + left[place + 1 :]
        self._attempts_left -= 1
        return candidate

    def pause_on(self, model: str) -> bool:
        """Whether ``model`` may be tried a second time after a pause; it then counts as tried."""
        if model in self._paused_on or self._attempts_left <= 0:
            return False
        self._paused_on.add(model)
        self._attempts_left -= 1
        return True

    def any_of(self, larger: frozenset[str]) -> bool:
        """Whether a context that was exceeded may lead on, once, to one of ``larger``."""
        return (
            not self._narrowed
            and not self.exhausted
            and any(each.model in larger for each in self._left)
        )

    def narrow(self, larger: frozenset[str]) -> None:
        """Keep only the candidates in ``larger``: the others could not read the request either."""
        self._narrowed = True
        self._left = tuple(each for each in self._left if each.model in larger)
