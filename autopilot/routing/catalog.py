"""The model catalog: what the platform publishes about each model, indexed by name and chute id.

Only `autopilot.feeds.parsers` knows how the feed spells these facts.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType


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
    raw: bytes = field(default=b"", repr=False)


@dataclass(frozen=True, slots=True)
class Catalog:
    """All models in the feed's order, and their names by ``chute_id``. Immutable."""

    models: Mapping[str, Model]
    by_chute: Mapping[str, str]

    @classmethod
    def of(cls, models: Iterable[Model]) -> Catalog:
        """Index ``models``. If two entries share a name or a ``chute_id``, the first one counts."""
        by_name: dict[str, Model] = {}
        by_chute: dict[str, str] = {}
        for model in models:
            if by_name.setdefault(model.name, model) is model and model.chute_id is not None:
                by_chute.setdefault(model.chute_id, model.name)
        return cls(models=MappingProxyType(by_name), by_chute=MappingProxyType(by_chute))

    def __len__(self) -> int:
        """Return the number of models."""
        return len(self.models)

    def __contains__(self, name: object) -> bool:
        """Return whether the catalog lists a model of exactly this name."""
        return name in self.models

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


EMPTY = Catalog.of(())
"""The catalog before the first successful fetch."""
