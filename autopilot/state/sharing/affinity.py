"""The affinity of conversations, if other replicas serve the same clients."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple, cast

from autopilot.state.affinity import AffinityEntry, SessionAffinity
from autopilot.state.circuit_breaker import rest
from autopilot.state.events import NEVER, Stuck, Unstuck, Version

if TYPE_CHECKING:
    from collections.abc import Iterator

    from autopilot.state.affinity import AffinityKey
    from autopilot.state.events import Event
    from autopilot.state.sharing.outbox import Outbox

REFRESHES: Final = 8
"""The most events in a `ttl` of a conversation that stays with its model."""
# An event is no longer on its way after this time, unless a warm start brings it.
_LONGEST_WAY = 60.0
_MOST_OUTCOMES = 16


class _Outcome(NamedTuple):
    """How a model last served a conversation: ``took`` is None if it answered."""

    version: Version
    at: float
    took: float | None


@dataclass(slots=True)
class _SharedAffinity(AffinityEntry):
    """An entry, the model that answered with the latest version, and the outcomes of others.

    That model, ``stuck``, is remembered unless it failed with a later version. ``outcomes`` has
    what does not follow from ``stuck``: failures, and answers of models that others replaced.
    ``broke``: the version of the failure of ``broken``. Until ``resend``, the others need not
    hear that the model goes on to answer.
    """

    version: Version = NEVER
    stuck: str | None = None
    resend: float = 0.0
    broke: Version = NEVER
    outcomes: dict[str, _Outcome] | None = None


class SharedAffinity(SessionAffinity):
    """Remembered models that become the same in all replicas, in whatever order they hear of them.

    For a conversation, the answer with the latest version decides on its model, and for a model of
    a conversation whether its latest version is an answer or a failure.
    """

    def __init__(self, outbox: Outbox, *, ttl: float, max_entries: int, list_retry: float) -> None:
        super().__init__(ttl=ttl, max_entries=max_entries, list_retry=list_retry)
        self._outbox = outbox
        # The same table, all of whose entries `_use` makes.
        self._shared = cast("OrderedDict[AffinityKey, _SharedAffinity]", self._entries)

    def served(self, key: AffinityKey, model: str, now: float) -> None:
        """Remember ``model``, and tell the others if it is news to them, or will soon expire."""
        if self._ttl <= 0:
            return
        entry = self._shared.get(key)
        if entry is not None and entry.model == model and now < entry.resend:
            self._entries.move_to_end(key)
            entry.expires = now + self._ttl
            return
        outbox = self._outbox
        outbox.counter = counter = outbox.counter + 1  # as `version`, without a call
        version = counter, outbox.replica
        self.apply_served(key, model, version, now)
        outbox.add(Stuck(version, 0, *key, model))

    def failed(
        self, key: AffinityKey, model: str, now: float, took: float, *, committed: bool = False
    ) -> None:
        """Record that ``model`` failed after ``took`` seconds, and tell the others."""
        if self._ttl <= 0:
            return
        version = self._outbox.version()
        self.apply_failed(key, model, version, now, took, committed=committed)
        self._outbox.add(Unstuck(version, 0, *key, model, round(took * 1000), committed))

    def apply_served(self, key: AffinityKey, model: str, version: Version, at: float) -> None:
        """Apply that ``model`` answered at ``at``, here or elsewhere."""
        if self._ttl <= 0:
            return
        entry = self._use(key)
        known = None if entry.outcomes is None else entry.outcomes.get(model)
        if version > entry.version:
            if entry.stuck is not None and entry.stuck != model:
                self._note(entry, entry.stuck, _Outcome(entry.version, at, None))
            later = entry.expires if entry.model == model else 0.0
            entry.version, entry.stuck = version, model
            entry.expires = max(later, at + self._ttl)
            entry.resend = at + self._ttl / REFRESHES
            if known is not None and known.version > version:
                entry.model, entry.forgot = None, True
                return
            entry.model = model
            entry.failed.pop(model, None)
            if entry.outcomes is not None:
                entry.outcomes.pop(model, None)
        elif model != entry.stuck and (known is None or version > known.version):
            self._note(entry, model, _Outcome(version, at, None))
            entry.failed.pop(model, None)

    def apply_failed(
        self,
        key: AffinityKey,
        model: str,
        version: Version,
        at: float,
        took: float,
        *,
        committed: bool,
    ) -> None:
        """Apply that ``model`` failed at ``at``, here or elsewhere."""
        if self._ttl <= 0:
            return
        entry = self._use(key)
        if committed and version > entry.broke:
            entry.broken, entry.broke = model, version
        if model == entry.stuck and version < entry.version:
            return
        known = None if entry.outcomes is None else entry.outcomes.get(model)
        if known is not None and version <= known.version:
            return
        if entry.stuck == model:
            entry.model, entry.forgot = None, True
        entry.failed = self._recent(entry, at)
        entry.failed[model] = at, took
        self._note(entry, model, _Outcome(version, at, took))

    def events(self, now: float) -> Iterator[Event]:
        """Yield events that tell another replica all of this, those of the latest use last.

        The table may change meanwhile.
        """
        for key in list(self._shared):
            entry = self._shared.get(key)
            if entry is None:
                continue
            outcomes = dict(entry.outcomes or {})
            expired = entry.expires <= now
            # That a model broke is a fact beside its last outcome, which may be another one. It
            # precedes that one, which says whether it still counts.
            broken = entry.broken
            if broken is not None:
                known = entry.version if broken == entry.stuck and not expired else NEVER
                last = outcomes.get(broken)
                if last is not None:
                    known = max(known, last.version)
                if known > entry.broke:
                    yield Unstuck(entry.broke, 0, *key, broken, 0, True)
            if entry.stuck is not None and not expired:
                age = _milliseconds(now - (entry.expires - self._ttl))
                yield Stuck(entry.version, age, *key, entry.stuck)
            for model, (version, at, took) in outcomes.items():
                age = _milliseconds(now - at)
                if took is None:
                    yield Stuck(version, age, *key, model)
                else:
                    committed = version == entry.broke
                    yield Unstuck(version, age, *key, model, _milliseconds(took), committed)

    def _use(self, key: AffinityKey) -> _SharedAffinity:
        entry = self._shared.get(key)
        if entry is None:
            entry = self._shared[key] = _SharedAffinity()
            self._shrink()
        else:
            self._shared.move_to_end(key)
        return entry

    def _note(self, entry: _SharedAffinity, model: str, outcome: _Outcome) -> None:
        """Keep an outcome, without those that no event on its way can contradict any more."""
        outcomes = entry.outcomes = entry.outcomes or {}
        known = outcomes.get(model)
        if known is None or known.version < outcome.version:
            outcomes[model] = outcome
        for each, (_, at, took) in tuple(outcomes.items()):
            # That of the latest model says that it is not remembered, however long that is ago.
            counts = rest(self._list_retry, took or 0.0)
            if each != entry.stuck and outcome.at - at > max(counts, _LONGEST_WAY):
                del outcomes[each]
        while len(outcomes) > _MOST_OUTCOMES:
            oldest = min(outcomes, key=lambda each: outcomes[each].version)
            del outcomes[oldest]
            entry.failed.pop(oldest, None)


def _milliseconds(seconds: float) -> int:
    return max(0, round(seconds * 1000))
