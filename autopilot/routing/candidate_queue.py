"""The queue of candidates for the attempts of one request."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Struct

from autopilot.routing.candidate import Candidate
from autopilot.routing.plan import pick

_MAX_AGAIN = 2


class CandidateQueue(Struct, eq=False):
    """Returns the candidates of a plan, for at most ``max_attempts`` attempts in all.

    The last of the attempts, but not the first, are kept for the last resort, if there is one.
    """

    _left: Sequence[Candidate]
    _attempts_left: int
    _resort: tuple[Candidate, ...] = ()
    _taken: bool = False
    _paused_on: frozenset[str] = frozenset()
    _again: tuple[str, ...] = ()
    _narrowed: bool = False

    @property
    def exhausted(self) -> bool:
        """Whether no further attempt on another candidate is possible (contract §6)."""
        return not (self._left or self._resort) or self._attempts_left <= 0

    @property
    def next_elsewhere(self) -> bool:
        """Whether the next candidate is another service's, if none is cooling."""
        following = self._left or self._resort
        return bool(following) and following[0].origin is not None

    @property
    def leads_elsewhere(self) -> bool:
        """Whether a candidate of another service is left, and an attempt for it."""
        if self.exhausted:
            return False
        return bool(self._resort) or any(each.origin is not None for each in self._left)

    def following(self, cooling: frozenset[str]) -> Candidate:
        """Return the candidate that `take` would return."""
        left, resort = self._left, self._resort
        if resort and (not left or (self._taken and self._attempts_left <= len(resort))):
            return resort[0]
        return pick(left, cooling)

    def leave_platform(self) -> bool:
        """Keep the candidates of other services only, if there is one to try; return whether."""
        if not self.leads_elsewhere:
            return False
        self._left = [each for each in self._left if each.origin is not None]
        return True

    def take(self, cooling: frozenset[str]) -> Candidate:
        """Return the next candidate, for one attempt; there must be one."""
        left, resort = self._left, self._resort
        self._attempts_left -= 1
        if resort and (not left or (self._taken and self._attempts_left < len(resort))):
            self._left, self._resort = (), resort[1:]
            return resort[0]
        self._taken = True
        candidate = pick(left, cooling) if cooling else left[0]
        if candidate is left[0]:
            self._left = left[1:]
        else:
            self._left = [each for each in left if each is not candidate]
        return candidate

    def pause_on(self, model: str) -> bool:
        """Return whether ``model`` may be tried again after a pause; if so, count the attempt."""
        if model in self._paused_on or self._attempts_left <= len(self._resort):
            return False
        self._paused_on |= {model}
        self._attempts_left -= 1
        return True

    def try_again(self, model: str) -> bool:
        """Return whether ``model`` may be tried again without counting the try, and record it.

        That is allowed once per model and twice per request (contract §6).
        """
        if model in self._again or len(self._again) >= _MAX_AGAIN:
            return False
        self._again = (*self._again, model)
        return True

    def leads_to(self, larger: frozenset[str], beside: str | None = None) -> bool:
        """Return whether an exceeded context permits failover, once, to a model in ``larger``.

        ``beside`` is the model of a second attempt, which has been taken and is not over.
        """
        if self._narrowed:
            return False
        if beside in larger:
            return True
        return not self.exhausted and any(each.model in larger for each in self._left)

    def narrow(self, larger: frozenset[str]) -> None:
        """Keep only the models in ``larger``: the others could not accept the request either."""
        self._narrowed, self._resort = True, ()
        self._left = [each for each in self._left if each.model in larger]
