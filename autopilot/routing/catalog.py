"""The model catalog: what the platform publishes about each model, indexed by all its spellings.

Only `autopilot.feeds.parsers` knows how the feed spells these facts.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from autopilot.routing.pricing import NO_PRICES, Prices
from autopilot.routing.steps import Steps, in_steps, result_of

_TEE = "-tee"
# The organisation's former name, which the platform still accepts, and its present one.
_FORMER, _PRESENT = "thudm/", "zai-org/"


@dataclass(frozen=True, slots=True)
class Model:
    """One catalog entry. None means that the feed does not state the fact, never "no".

    ``context_length`` and ``max_output_length`` are in tokens. ``raw`` is the entry's own JSON
    text.
    """

    name: str
    chute_id: str | None = None
    tee: bool | None = None
    context_length: int | None = None
    max_output_length: int | None = None
    input_modalities: frozenset[str] | None = None
    features: frozenset[str] | None = None
    prices: Prices = NO_PRICES
    raw: bytes = field(default=b"", repr=False)
    # The cost of each answer is computed with these.
    rates: tuple[int, int, int] | None = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "rates", self.prices.per_token())


@dataclass(frozen=True, slots=True)
class Catalog:
    """All models in the feed's order, and their names by other spellings. Immutable.

    ``by_chute`` has the names by ``chute_id``, ``near`` by the spellings of `find`, in lower case.
    """

    models: Mapping[str, Model]
    by_chute: Mapping[str, str]
    near: Mapping[str, str] = field(repr=False)

    @classmethod
    def of(cls, models: Iterable[Model]) -> Catalog:
        """Index ``models``. If two entries share a name or a ``chute_id``, the first one counts."""
        return result_of(cls.steps_of(models))

    @classmethod
    def steps_of(cls, models: Iterable[Model]) -> Steps[Catalog]:
        """Do what `of` does, in steps."""
        by_name: dict[str, Model] = {}
        by_chute: dict[str, str] = {}
        for model in in_steps(models):
            if model is None:
                yield
            elif by_name.setdefault(model.name, model) is model and model.chute_id is not None:
                by_chute.setdefault(model.chute_id, model.name)
        near = yield from _near_names(by_name)
        return cls(
            models=MappingProxyType(by_name),
            by_chute=MappingProxyType(by_chute),
            near=MappingProxyType(near),
        )

    def __len__(self) -> int:
        """Return the number of models."""
        return len(self.models)

    def __contains__(self, name: object) -> bool:
        """Return whether the catalog lists a model of exactly this name."""
        return name in self.models

    def find(self, name: str) -> str | None:
        """Return the name of the model that ``name`` means, None if there is none (contract §3).

        A name that is not listed means the only model that is spelled so in another case, else the
        only one that is also spelled with ``zai-org/`` for ``THUDM/`` or with ``-TEE`` at its end.
        A ``chute_id`` means its model.
        """
        if name in self.models:
            return name
        return self.by_chute.get(name) or self.near.get(name.lower())

    def larger_context(self, name: str) -> frozenset[str]:
        """Return the models whose context is known to be larger than that of ``name``.

        Empty if the context of ``name`` itself is unknown.
        """
        model = self.models.get(name)
        if model is None or model.context_length is None:
            return frozenset()
        return frozenset(
            other.name
            for other in self.models.values()
            if other.context_length is not None and other.context_length > model.context_length
        )

    def larger_or_unknown(self, name: str, others: Iterable[str]) -> frozenset[str]:
        """Return those of ``others`` whose context is not known to be as small as that of ``name``.

        An unknown context, of either model, allows no comparison.
        """
        context = self._context(name)
        lengths = ((other, self._context(other)) for other in others if other != name)
        return frozenset(
            other
            for other, length in lengths
            if context is None or length is None or length > context
        )

    def _context(self, name: str) -> int | None:
        model = self.models.get(name)
        return None if model is None else model.context_length


def _near_names(names: Iterable[str]) -> Steps[dict[str, str]]:
    """Return each name by its spellings in lower case, without those that several names share."""
    same: list[tuple[str, str]] = []
    others: list[tuple[str, str]] = []
    for name in in_steps(names):
        if name is None:
            yield
            continue
        lower = name.lower()
        bare = lower.removesuffix(_TEE)
        same.append((lower, name))
        spellings = {lower, bare}
        if lower.startswith(_PRESENT):
            spellings |= {_FORMER + each.removeprefix(_PRESENT) for each in (lower, bare)}
        others += [(spelling, name) for spelling in spellings - {lower}]
    taken = {spelling for spelling, _ in same}
    # A difference in case alone counts first, even where it leaves several names to choose from.
    return _unique(entry for entry in others if entry[0] not in taken) | _unique(same)


def _unique(entries: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Return the entries whose key occurs once."""
    listed = list(entries)
    occurrences = Counter(key for key, _ in listed)
    return {key: value for key, value in listed if occurrences[key] == 1}


EMPTY = Catalog.of(())
"""The catalog before the first successful fetch."""
